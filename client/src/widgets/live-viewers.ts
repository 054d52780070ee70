import { NumberElement } from './number-element.js';

/** `<live-viewers post="42">`: the number of viewers of the post. It makes the user one of them, wherever the page scrolls. */
export class LiveViewers extends NumberElement {
  protected override readonly present = true;

  constructor() {
    super();
    const dot = document.createElement('span');
    dot.setAttribute('part', 'dot');
    this.shadowRoot!.prepend(dot);
  }

  override get metric(): string {
    return 'live';
  }

  protected override get hint(): string {
    return this.getAttribute('label') ?? 'here now';
  }
}

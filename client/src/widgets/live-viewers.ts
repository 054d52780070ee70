import { NumberElement } from './number-element.js';

/** `<live-viewers post="42">`: the number of viewers of the post. */
export class LiveViewers extends NumberElement {
  readonly metric = 'live';

  constructor() {
    super();
    const dot = document.createElement('span');
    dot.part.add('dot');
    this.shadowRoot!.prepend(dot);
  }
}

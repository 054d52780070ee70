import { LiveElement } from './live-element.js';

/** `<live-viewers post="42">`: the number of viewers of the post. */
export class LiveViewers extends LiveElement {
  readonly metric = 'live';

  constructor() {
    super();
    const dot = document.createElement('span');
    dot.part.add('dot');
    this.shadowRoot!.prepend(dot);
  }
}

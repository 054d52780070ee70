import { announce } from './announce.js';
import { NumberElement } from './number-element.js';
import { makePill } from './pill.js';

/** `live-like`: this user turned the like, or another toggle, on or off. */
export interface LikeTurned {
  readonly post: string;
  readonly metric: string;
  readonly on: boolean;
}

const SVG = 'http://www.w3.org/2000/svg';
const STAR = 'm12 2 3 7 7 .5-5.5 5 2 7-6.5-4-6.5 4 2-7-5.5-5L9 9z';
const HEART = 'M12 20.5 3.6 12a5.2 5.2 0 0 1 7.4-7.3l1 1 1-1a5.2 5.2 0 0 1 7.4 7.3z';

/**
 * `<live-like post="42" label="Like">`: a button that turns this user's like, or another toggle, on and off, with its number.
 */
export class LiveLike extends NumberElement {
  readonly #button: HTMLButtonElement;
  readonly #icon = document.createElementNS(SVG, 'path');
  readonly #status = document.createElement('span');

  constructor() {
    super();
    const pill = makePill(() => this.#turn(), makeIcon(this.#icon), this.number.element, this.fallback);
    this.titled = pill;
    this.#button = pill.lastChild as HTMLButtonElement;
    this.shadowRoot!.prepend(pill);
    this.#status.role = 'status';
    this.shadowRoot!.append(this.#status);
  }

  protected override write(): void {
    super.write();
    this.#icon.setAttribute('d', this.metric === 'likes' ? HEART : STAR);
    this.#button.ariaPressed = String(this.#isOn);
    this.#button.ariaLabel = this.#label;
    this.toggleAttribute('data-on', this.#isOn);
  }

  get #label(): string {
    return this.getAttribute('label') ?? (this.metric === 'likes' ? 'Like' : this.metric);
  }

  get #isOn(): boolean {
    return this.on.includes(this.metric);
  }

  #turn(): void {
    const { metric, post } = this;
    if (post === '') return;
    const on = !this.#isOn;
    this.emit('live-like', { post, metric, on });
    announce(this.#status, () => `${this.#label}: ${this.exactText}`);
    void this.turn(metric, on, (handle) => handle.set(metric, on));
  }
}

function makeIcon(path: SVGElement): HTMLElement {
  const slot = document.createElement('slot');
  slot.name = 'icon';
  const icon = document.createElementNS(SVG, 'svg');
  icon.setAttribute('viewBox', '0 0 24 24');
  icon.setAttribute('aria-hidden', 'true');
  icon.setAttribute('part', 'icon');
  icon.append(path);
  slot.append(icon);
  return slot;
}

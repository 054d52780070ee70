import type { Change } from '../post-counts.js';
import { announce } from './announce.js';
import { LiveElement } from './live-element.js';

/** `live-like`: this user turned the like on or off. */
export interface LikeTurned {
  readonly post: string;
  readonly on: boolean;
}

const HEART = 'M12 20.5 3.6 12a5.2 5.2 0 0 1 7.4-7.3l1 1 1-1a5.2 5.2 0 0 1 7.4 7.3z';

/** `<live-like post="42" label="Like">`: a button that turns this user's like on and off, with the number of likes. */
export class LiveLike extends LiveElement {
  static override readonly observedAttributes = [...LiveElement.observedAttributes, 'label'];

  readonly metric = 'likes';
  readonly #button = document.createElement('button');
  readonly #status = document.createElement('span');
  #on = false;
  /** The state in the client's last change. */
  #lastEmitted = false;
  #turns = 0;

  constructor() {
    super(true);
    const pill = document.createElement('span');
    pill.part.add('button');
    this.titled = pill;
    this.#button.type = 'button';
    // The button lies over the number. Inside the button the number would be part of its name, and a screen reader would
    // read every change while the button has the focus.
    pill.append(makeIcon(), this.number.element, this.fallback, this.#button);
    this.#button.addEventListener('click', () => void this.#toggle(!this.#on));
    this.#status.role = 'status';
    this.shadowRoot!.prepend(pill);
    this.shadowRoot!.append(this.#status);
  }

  protected override resetCount(): void {
    super.resetCount();
    this.#on = this.#lastEmitted = false;
  }

  protected override applyChange(change: Change): void {
    this.#lastEmitted = change.mine.includes(this.metric);
    this.#press(this.#lastEmitted);
    super.applyChange(change);
  }

  protected override write(): void {
    super.write();
    this.#button.ariaPressed = String(this.#on);
    this.#button.ariaLabel = this.#label;
    this.toggleAttribute('data-on', this.#on);
  }

  get #label(): string {
    return this.getAttribute('label') ?? 'Like';
  }

  #press(on: boolean): void {
    if (on === this.#on) return;
    this.#on = on;
    this.scheduleWrite();
  }

  async #toggle(on: boolean): Promise<void> {
    const { post } = this;
    if (post === '') return;
    this.#press(on);
    this.emit('live-like', { post, on });
    announce(this.#status, () => `${this.#label}: ${this.exactText}`);
    const turn = ++this.#turns;
    const isDone = await this.act((handle) => handle.set(this.metric, on));
    if (!isDone && turn === this.#turns && post === this.post) this.#press(this.#lastEmitted);
  }
}

function makeIcon(): HTMLElement {
  const slot = document.createElement('slot');
  slot.name = 'icon';
  const icon = document.createElementNS('http://www.w3.org/2000/svg', 'svg');
  icon.setAttribute('viewBox', '0 0 24 24');
  icon.setAttribute('aria-hidden', 'true');
  icon.part.add('icon');
  const path = document.createElementNS('http://www.w3.org/2000/svg', 'path');
  path.setAttribute('d', HEART);
  icon.append(path);
  slot.append(icon);
  return slot;
}

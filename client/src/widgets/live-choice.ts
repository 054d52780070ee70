import type { Change } from '../post-counts.js';
import { announce } from './announce.js';
import { LiveCount } from './live-count.js';
import { LiveElement, reflect } from './live-element.js';
import { makePill } from './pill.js';

/** `live-choice`: this user chose an option or took the choice back. */
export interface ChoiceTurned {
  readonly post: string;
  readonly option: string;
  readonly on: boolean;
}

/**
 * `<live-choice post="42" group="vote" label="Your vote">`: a button for each option of a group, with its number. Pressing one
 * turns the others off; pressing it again takes the choice back. Elements in it with `data-option` select, order and name the
 * options.
 */
export class LiveChoice extends LiveElement {
  readonly #group = document.createElement('span');
  readonly #status = document.createElement('span');
  /** By option; the children of each are its label, its number and its button. */
  #pills: ReadonlyMap<string, HTMLElement> = new Map();

  constructor() {
    super();
    this.#group.role = 'group';
    this.#status.role = 'status';
    this.shadowRoot!.append(this.#group, this.#status);
    // The numbers watch the same post with the same client, and would repeat the errors of this element.
    this.#group.addEventListener('live-error', (event) => {
      event.stopPropagation();
      event.preventDefault();
    });
    const changes = { characterData: true, childList: true, subtree: true };
    new MutationObserver(() => this.scheduleWrite()).observe(this, changes);
  }

  protected override applyChange(change: Change): void {
    super.applyChange(change);
    const options = [...this.#readLabels().keys()];
    if (options.length === 0) options.push(`choice@${this.getAttribute('group')}`);
    for (const option of options) this.checkMetric(option);
    // With its first counts the client has the options of the gateway.
    if (this.#pills.size === 0) this.scheduleWrite();
  }

  protected override write(): void {
    const labels = this.#readLabels();
    if ([...labels.keys()].join() !== [...this.#pills.keys()].join()) {
      this.#pills = new Map(Array.from(labels.keys(), (option) => [option, this.#makePill(option)]));
      this.#group.replaceChildren(...this.#pills.values());
    }
    this.fallback.hidden = labels.size > 0;
    this.#group.ariaLabel = this.getAttribute('label');
    reflect(
      this,
      'data-chosen',
      this.on.find((option) => labels.has(option)),
    );
    for (const [option, pill] of this.#pills) {
      const [label, count, button] = pill.children as unknown as [HTMLElement, LiveCount, HTMLButtonElement];
      const isOn = this.on.includes(option);
      label.textContent = button.ariaLabel = labels.get(option)!;
      button.ariaPressed = String(isOn);
      pill.setAttribute('part', isOn ? 'button chosen' : 'button');
      count.live = this.live;
      for (const name of ['post', 'notation', 'lang']) reflect(count, name, this.getAttribute(name));
    }
  }

  /** By option, in the order of the buttons. */
  #readLabels(): ReadonlyMap<string, string> {
    const given = [...this.querySelectorAll<HTMLElement>('[data-option]')];
    if (given.length > 0) return new Map(given.map((element) => [element.dataset['option']!, element.textContent]));
    return new Map(this.client.options(this.getAttribute('group') ?? '').map((option) => [option, option]));
  }

  #makePill(option: string): HTMLElement {
    const label = document.createElement('span');
    label.setAttribute('part', 'label');
    // The button has the same name.
    label.ariaHidden = 'true';
    const count = new LiveCount();
    count.metric = option;
    count.setAttribute('exportparts', 'number');
    const press = (): void => {
      const on = !this.on.includes(option);
      this.emit('live-choice', { post: this.post, option, on });
      announce(this.#status, () => `${label.textContent}: ${count.exactText}`);
      void this.turn(option, on, (post) => post.choose(option, on));
    };
    const pill = makePill(press, label, count);
    count.titled = pill;
    return pill;
  }
}

import { createLiveCounts, type LiveCounts, LiveCountsError } from 'tallycast-client/widgets';
import { NetworkCable } from './network-cable.js';
import { find, gatewayUrl, setText, showState } from './page.js';

type LiveElement = HTMLElement & { live: LiveCounts | undefined };

/** One person: a client with its own actor behind a cable. */
export class Person {
  readonly #cable = new NetworkCable();
  readonly #live: LiveCounts;
  readonly #waiting: HTMLElement;
  readonly #showState: () => void;
  /** Likes and views that this person sees. */
  likes = Number.NaN;
  views = Number.NaN;

  /** @param watch wraps the client of this person */
  constructor(
    readonly name: string,
    actor: string,
    post: string,
    private readonly changed: () => void,
    watch = (live: LiveCounts): LiveCounts => live,
  ) {
    const who = name.toLowerCase();
    const section = find(`#${who}`);
    this.#live = watch(createLiveCounts(gatewayUrl(), { actor, environment: this.#cable.environment }));
    for (const widget of section.querySelectorAll<LiveElement>('live-count, live-like')) {
      widget.live = this.#live;
      widget.setAttribute('post', post);
    }
    this.#live.post(post).subscribe(({ counts: { likes, views } }) => {
      this.likes = likes;
      this.views = views;
      changed();
    });
    this.#waiting = find(`[data-testid=waiting-${who}]`, section);
    section.querySelector(`[data-testid=view-${who}]`)?.addEventListener('click', () => void this.#view(post));
    this.#showState = showState(this.#live, find(`[data-testid=state-${who}]`, section), () => this.pulled);
    const button = document.querySelector<HTMLElement>(`[data-testid=pull-${who}]`);
    button?.addEventListener('click', () => this.#pullOrPlug(button));
  }

  get pulled(): boolean {
    return this.#cable.pulled;
  }

  get waiting(): number {
    return this.#live.waiting;
  }

  get synced(): boolean {
    return this.#live.state === 'synced';
  }

  show(): void {
    this.#showState();
    this.#waiting.dataset['value'] = String(this.waiting);
    const none = this.pulled ? 'nothing waits' : '';
    setText(this.#waiting, this.waiting === 0 ? none : `${this.waiting} waiting`);
  }

  async #view(post: string): Promise<void> {
    try {
      await this.#live.post(post).view();
    } catch (error) {
      // The widget takes back a rejected view, which is feedback enough.
      if (!(error instanceof LiveCountsError)) throw error;
    }
  }

  #pullOrPlug(button: HTMLElement): void {
    if (this.pulled) this.#cable.plugIn();
    else this.#cable.pull();
    button.toggleAttribute('data-pulled', this.pulled);
    setText(find('.label', button), this.pulled ? `Plug in ${this.name}` : `Unplug ${this.name}`);
    this.changed();
  }
}

export function countOperations(count: number): string {
  return count === 1 ? 'One operation' : `${count} operations`;
}

import './cable.css';
import { createLiveCounts, type LiveCounts, LiveCountsError } from 'tallycast-client/widgets';
import { NetworkCable } from './network-cable.js';
import { connectPage, find, say, showState } from './page.js';
import { windowNumber } from './random-actor.js';

/** Operations that begin or cease to wait are told by nobody; ten times a second is at once to the eye. */
const LOOK_EVERY_MS = 100;

type LiveElement = HTMLElement & { live: LiveCounts | undefined };

/** One person: a client with an actor of its own, behind a cable. */
class Side {
  readonly #cable = new NetworkCable();
  readonly #live: LiveCounts;
  readonly #button: HTMLElement;
  readonly #waiting: HTMLElement;
  readonly #showState: () => void;
  /** What is shown on this side: likes and views. */
  shown = '';

  constructor(
    readonly name: string,
    actor: string,
    post: string,
    private readonly changed: () => void,
  ) {
    const who = name.toLowerCase();
    const section = find(`#${who}`);
    this.#live = createLiveCounts(location.origin, {
      actor,
      environment: this.#cable.environment,
    });
    for (const widget of section.querySelectorAll<LiveElement>('live-count, live-like')) {
      widget.live = this.#live;
      widget.setAttribute('post', post);
    }
    this.#live.post(post).subscribe(({ counts }) => {
      this.shown = `${counts.likes} ${counts.views}`;
      changed();
    });
    this.#button = find(`[data-testid=pull-${who}]`, section);
    this.#waiting = find(`[data-testid=waiting-${who}]`, section);
    this.#button.addEventListener('click', () => this.#pullOrPlug());
    find(`[data-testid=view-${who}]`, section).addEventListener('click', () => void this.#view(post));
    const state = find(`[data-testid=state-${who}]`, section);
    this.#showState = showState(this.#live, state, () => this.pulled);
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
    say(this.#waiting, this.waiting === 0 ? 'nothing waits' : `${this.waiting} waiting`);
  }

  async #view(post: string): Promise<void> {
    try {
      await this.#live.post(post).view();
    } catch (error) {
      // What does not count any more is taken back on the screen, which is all there is to say here.
      if (!(error instanceof LiveCountsError)) throw error;
    }
  }

  #pullOrPlug(): void {
    if (this.#cable.pulled) this.#cable.plugIn();
    else this.#cable.pull();
    this.#button.setAttribute('aria-pressed', String(this.#cable.pulled));
    this.changed();
  }
}

const observer = connectPage();
const post = new URLSearchParams(location.search).get('post') ?? 'cable';
for (const widget of document.querySelectorAll('.gateway live-count')) widget.setAttribute('post', post);
const story = find('[data-testid=story]');
// A window is two people of its own; a reload finds them again.
const sides = ['Ann', 'Bob'].map((name, i) => new Side(name, `${windowNumber()}${i}`, post, tell));
let confirmed = '';
observer.post(post).subscribe(({ counts }) => {
  confirmed = `${counts.likes} ${counts.views}`;
  tell();
});
setInterval(tell, LOOK_EVERY_MS);

function tell(): void {
  for (const side of sides) side.show();
  say(story, storyOf(sides));
}

function storyOf([ann, bob]: readonly Side[]): string {
  if (!ann || !bob) return '';
  if (ann.pulled && bob.pulled) return `Both are unplugged. ${waitingOf(ann)} ${waitingOf(bob)}`;
  const [out, other] = ann.pulled ? [ann, bob] : [bob, ann];
  if (out.pulled) {
    return `${out.name} is unplugged, and goes on. ${waitingOf(out)} ${other.name} and the gateway know nothing of it.`;
  }
  const sending = ann.waiting + bob.waiting;
  if (sending > 0) return `Both are plugged in. ${operations(sending)} on the way.`;
  if (!ann.synced || !bob.synced) return 'Both are plugged in, and are finding the gateway.';
  if (ann.shown !== confirmed || bob.shown !== confirmed) return 'Both are plugged in. Nearly there.';
  return 'All three agree. Whatever one does, the other sees within a tick.';
}

function waitingOf({ name, waiting }: Side): string {
  if (waiting === 0) return `Nothing of ${name}’s waits yet.`;
  return `${operations(waiting)} of ${name}’s ${waiting === 1 ? 'waits' : 'wait'} here.`;
}

function operations(count: number): string {
  return count === 1 ? 'One operation' : `${count} operations`;
}

import './cable.css';
import { createLiveCounts, type LiveCounts, LiveCountsError } from 'tallycast-client/widgets';
import { NetworkCable } from './network-cable.js';
import { connectPage, find, gatewayUrl, setText, showState } from './page.js';
import { windowNumber } from './random-actor.js';

/** No event reports a change of `waiting`; polling ten times a second looks immediate. */
const REFRESH_INTERVAL_MS = 100;

type LiveElement = HTMLElement & { live: LiveCounts | undefined };

/** One person: a client with its own actor behind a cable. */
class Side {
  readonly #cable = new NetworkCable();
  readonly #live: LiveCounts;
  readonly #button: HTMLElement;
  readonly #waiting: HTMLElement;
  readonly #showState: () => void;
  /** The likes and views shown on this side. */
  shown = '';

  constructor(
    readonly name: string,
    actor: string,
    post: string,
    private readonly changed: () => void,
  ) {
    const who = name.toLowerCase();
    const section = find(`#${who}`);
    this.#live = createLiveCounts(gatewayUrl(), {
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
    setText(this.#waiting, this.waiting === 0 ? 'nothing waits' : `${this.waiting} waiting`);
  }

  async #view(post: string): Promise<void> {
    try {
      await this.#live.post(post).view();
    } catch (error) {
      // The widget takes back a rejected view, which is feedback enough.
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
// Each window has its own two people; they stay the same after a reload.
const sides = ['Ann', 'Bob'].map((name, i) => new Side(name, `${windowNumber()}${i}`, post, refresh));
let gatewayCounts = '';
observer.post(post).subscribe(({ counts }) => {
  gatewayCounts = `${counts.likes} ${counts.views}`;
  refresh();
});
setInterval(refresh, REFRESH_INTERVAL_MS);

function refresh(): void {
  for (const side of sides) side.show();
  setText(story, describeSides(sides));
}

function describeSides([ann, bob]: readonly Side[]): string {
  if (!ann || !bob) return '';
  if (ann.pulled && bob.pulled) return `Both are unplugged. ${describeWaiting(ann)} ${describeWaiting(bob)}`;
  const [out, other] = ann.pulled ? [ann, bob] : [bob, ann];
  if (out.pulled) {
    return `${out.name} is unplugged and continues. ${describeWaiting(out)} ${other.name} and the gateway have not received it.`;
  }
  const sending = ann.waiting + bob.waiting;
  if (sending > 0) return `Both are plugged in. ${countOperations(sending)} on the way.`;
  if (!ann.synced || !bob.synced) return 'Both are plugged in and connecting to the gateway.';
  if (ann.shown !== gatewayCounts || bob.shown !== gatewayCounts)
    return 'Both are plugged in. The last updates are on the way.';
  return 'All three agree. The other side shows every operation within a tick.';
}

function describeWaiting({ name, waiting }: Side): string {
  if (waiting === 0) return `Nothing of ${name}’s waits yet.`;
  return `${countOperations(waiting)} of ${name}’s ${waiting === 1 ? 'waits' : 'wait'} here.`;
}

function countOperations(count: number): string {
  return count === 1 ? 'One operation' : `${count} operations`;
}

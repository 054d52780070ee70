import type { Clock } from '../common/clock.js';
import type { Metrics } from '../counters/metrics.js';
import type { MilestoneEvent } from '../protocol/messages.js';
import type { MilestoneNews } from '../store/milestone-store.js';
import type { EncodedMilestone, Viewer } from './viewer.js';

/**
 * Milestones times viewers in one slice, before other events of the loop: of these, a viewer of other posts costs a lookup and one of this
 * post a write, so a slice takes about 2 ms.
 */
const WORK_PER_SLICE = 1_000;
/** Milestones that wait until all viewers were visited. Further ones are dropped: an operation reaches at most 16. */
const WAITING_MAX = 256;
/** A viewer whose frames have been unsent for this long gets no milestone. */
const UNSENT_MAX_MS = 5_000;

interface Waiting extends EncodedMilestone {
  readonly post: string;
}

/**
 * Sends milestones to the viewers of their posts, without waiting for a tick. It visits all viewers of the gateway, because
 * milestones are rare: a list of each post's viewers would cost memory for every subscription.
 */
export class MilestoneDelivery {
  #waiting: Waiting[] = [];
  #isRunning = false;

  constructor(
    private readonly viewers: ReadonlySet<Viewer>,
    private readonly clock: Clock,
    private readonly metrics: Metrics,
  ) {}

  deliver(news: readonly MilestoneNews[]): void {
    for (const one of news) {
      if (this.#waiting.length < WAITING_MAX) this.#waiting.push({ post: one.post, body: this.#encode(one) });
    }
    if (!this.#isRunning && this.#waiting.length > 0) this.#start();
  }

  #start(): void {
    this.#isRunning = true;
    const milestones = this.#waiting;
    this.#waiting = [];
    this.#visit(milestones, this.viewers.values());
  }

  #visit(milestones: readonly Waiting[], viewers: Iterator<Viewer>): void {
    const nowMs = this.clock.nowMs();
    for (let work = 0; work < WORK_PER_SLICE; work += milestones.length) {
      const next = viewers.next();
      if (next.done === true) {
        this.#isRunning = false;
        if (this.#waiting.length > 0) this.clock.soon(() => this.#start());
        return;
      }
      sendTo(next.value, milestones, nowMs);
    }
    this.clock.soon(() => this.#visit(milestones, viewers));
  }

  #encode({ post, metric, n, v, atMs }: MilestoneNews): string {
    const at = new Date(atMs).toISOString();
    return JSON.stringify({ post, metric: this.metrics.list[metric]!.name, n, v, at } satisfies MilestoneEvent);
  }
}

function sendTo({ subscriptions, unsentSinceMs, sink }: Viewer, milestones: readonly Waiting[], nowMs: number): void {
  if (subscriptions.size === 0 || (unsentSinceMs !== null && nowMs - unsentSinceMs >= UNSENT_MAX_MS)) return;
  for (const milestone of milestones) if (subscriptions.has(milestone.post)) sink.sendMilestone(milestone);
}

import type { Update } from '../../src/protocol/messages.js';
import type { LiveCountsError } from './outbox.js';

export interface Counts {
  readonly likes: number;
  readonly views: number;
  /** Viewers now. */
  readonly live: number;
  readonly [metric: string]: number;
}

export interface Change {
  readonly counts: Counts;
  /** What differs from the counts told before, by metric; empty the first time. */
  readonly delta: Readonly<Record<string, number>>;
  /** The toggles that are on for this actor; one that still waits for its acknowledgement stands as it was asked for. */
  readonly mine: readonly string[];
  /** `snapshot` and `frame` from watching, `ack` of an own operation, `mine` from another tab, `local` not yet sent. */
  readonly source: 'snapshot' | 'frame' | 'ack' | 'mine' | 'local';
}

export interface Subscriber {
  readonly changed: (change: Change) => void;
  readonly refused: ((error: LiveCountsError) => void) | undefined;
}

interface Version {
  readonly e: string;
  readonly v: number;
}

const NOT_METRICS = new Set(['post', 'e', 'v', 'd', 'mine']);

function countsOf(update: Update): Counts {
  const metrics = Object.entries(update).filter(([name, value]) => !NOT_METRICS.has(name) && typeof value === 'number');
  return Object.fromEntries(metrics) as unknown as Counts;
}

/**
 * The state of one watched post, fed alike by snapshots, frames and acknowledgements. Totals are absolute, so whichever
 * has the higher version wins and the rest is old; deltas are taken between the states told, since a frame's own `d`
 * would repeat what an acknowledgement has already shown.
 */
export class WatchedPost {
  readonly subscribers = new Set<Subscriber>();
  /** Whether the gateway has answered the subscription on this connection. */
  phase: 'unasked' | 'asked' | 'answered' = 'unasked';
  version: Version | undefined;
  private counts: Counts | undefined;
  private toggles: ReadonlySet<string> = new Set();
  private togglesAt: Version | undefined;
  private told: { readonly counts: Counts; readonly mine: readonly string[] } | undefined;

  constructor(private readonly intended: () => boolean | undefined) {}

  add(subscriber: Subscriber): void {
    this.subscribers.add(subscriber);
    if (this.told) subscriber.changed({ ...this.told, delta: {}, source: 'snapshot' });
  }

  snapshot(update: Update & { readonly mine: readonly string[] }): void {
    // A like acknowledged while the snapshot was on its way is newer than the snapshot's word on it.
    const at = this.togglesAt;
    if (at?.e !== update.e || update.v >= at.v) this.setToggles(new Set(update.mine), update);
    this.take(update, 'snapshot');
  }

  acknowledged(update: Update, on: boolean | undefined): void {
    if (on !== undefined) this.setToggles(this.with('likes', on), update);
    this.take(update, 'ack');
  }

  mine(metric: string, on: boolean): void {
    this.toggles = this.with(metric, on);
    this.tell('mine');
  }

  take(update: Update, source: Change['source']): void {
    const known = this.version;
    if (this.counts && known?.e === update.e && update.v <= known.v) {
      this.counts = { ...this.counts, live: update.live };
    } else {
      this.counts = countsOf(update);
      this.version = { e: update.e, v: update.v };
    }
    this.tell(source);
  }

  /** Calls the subscribers if there is news for them. */
  tell(source: Change['source']): void {
    if (!this.counts) return;
    const before = this.told;
    const delta = before ? difference(before.counts, this.counts) : {};
    const mine = [...this.with('likes', this.intended() ?? this.toggles.has('likes'))].sort();
    if (before && Object.keys(delta).length === 0 && before.mine.join() === mine.join()) return;
    this.told = { counts: this.counts, mine };
    for (const subscriber of this.subscribers) {
      try {
        subscriber.changed({ ...this.told, delta, source });
      } catch (error) {
        // A subscriber's fault is its owner's to see, and nobody else's to suffer.
        queueMicrotask(() => {
          throw error;
        });
      }
    }
  }

  refuse(error: LiveCountsError): void {
    for (const subscriber of this.subscribers) subscriber.refused?.(error);
  }

  private setToggles(toggles: ReadonlySet<string>, { e, v }: Version): void {
    this.toggles = toggles;
    this.togglesAt = { e, v };
  }

  private with(metric: string, on: boolean): ReadonlySet<string> {
    const toggles = new Set(this.toggles);
    if (on) toggles.add(metric);
    else toggles.delete(metric);
    return toggles;
  }
}

function difference(before: Counts, after: Counts): Record<string, number> {
  const changed = Object.keys(after).filter((metric) => after[metric] !== before[metric]);
  return Object.fromEntries(changed.map((metric) => [metric, (after[metric] ?? 0) - (before[metric] ?? 0)]));
}

import type { Clock } from '../common/clock.js';
import type { Delta } from '../counters/replication/delta.js';
import type { ChangesRequest, BucketStatus, ReplicatedStore } from '../store/replicated-store.js';

/** Changes of a bucket that one exchange carries: about 20 KB. */
export const CHANGES_MAX = 1_000;
/** Rounds that begin within this many ms share what they read. */
const SHARED_MS = 10;

/**
 * Reads the store for all links. Their exchanges start at the same ticks, and while all peers are up they need the same changes: one link
 * reads them and the others share the result. Only the last read is kept.
 *
 *     tick ├── REPLICATION_INTERVAL_MS ──┤── REPLICATION_INTERVAL_MS ──┤
 *     us    exchange                      exchange                       reads the store and pushes
 *     ap    exchange                      exchange                       pushes the deltas read for us, if it has acked as much as us
 */
export class ChangeReader {
  #read: SharedRead | null = null;

  /** @param phaseMs when the first tick is; gateways that share a store have others */
  constructor(
    private readonly store: ReplicatedStore,
    private readonly peers: readonly string[],
    private readonly clock: Clock,
    private readonly intervalMs: number,
    private readonly phaseMs: number,
  ) {}

  /** When the round after one that began at `startedAtMs` is due: at the tick that is nearest to REPLICATION_INTERVAL_MS later. */
  nextAtMs(startedAtMs: number): number {
    const ticks = (startedAtMs - this.phaseMs) / this.intervalMs;
    return Math.round(ticks + 1) * this.intervalMs + this.phaseMs;
  }

  joinRead(led: readonly number[]): SharedRead {
    const nowMs = this.clock.nowMs();
    const round = this.#read;
    if (round !== null && round.leasedBuckets === led && nowMs - round.startedAtMs < SHARED_MS) return round;
    this.#read = new SharedRead(this.store, this.peers, led, nowMs);
    return this.#read;
  }

  /** Something else than changes has been done to buckets. */
  invalidate(): void {
    this.#read = null;
  }
}

/** The buckets of a gateway at one tick. */
export class SharedRead {
  readonly bucketStatuses: Promise<ReadonlyMap<number, BucketStatus>>;
  readonly #collected = new Map<
    number,
    { readonly after: number; readonly found: Promise<readonly (Delta | null)[]>; readonly index: number }
  >();

  constructor(
    private readonly store: ReplicatedStore,
    private readonly peers: readonly string[],
    readonly leasedBuckets: readonly number[],
    readonly startedAtMs: number,
  ) {
    this.bucketStatuses = store
      .bucketStatus(leasedBuckets)
      .then((standings) => new Map(standings.map((standing, i) => [leasedBuckets[i]!, standing] as const)));
  }

  /** What each bucket has changed after a stamp, as `ReplicatedStore.collect` says. */
  async changesSince(asked: readonly ChangesRequest[]): Promise<readonly (Delta | null)[]> {
    const missing = asked.filter(({ bucket, after }) => this.#collected.get(bucket)?.after !== after);
    if (missing.length > 0) {
      const found = this.store.changesSince(missing, this.peers, CHANGES_MAX);
      // Who asked first may have failed by then, and not wait for it.
      found.catch(() => undefined);
      for (const [index, { bucket, after }] of missing.entries()) this.#collected.set(bucket, { after, found, index });
    }
    const places = asked.map(({ bucket }) => this.#collected.get(bucket)!);
    const shipments: (Delta | null)[] = [];
    for (const { found, index } of places) shipments.push((await found)[index] ?? null);
    return shipments;
  }
}

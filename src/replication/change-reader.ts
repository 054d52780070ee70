import type { Clock } from '../common/clock.js';
import type { Delta } from '../counters/replication/delta.js';
import type { BucketStatus, ChangesRequest, ReplicatedStore } from '../store/replicated-store.js';

/** Changes of a bucket in one exchange: about 20 KB. */
export const CHANGES_MAX = 1_000;
/** Exchanges that start within this time share their reads. */
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

  /** @param phaseMs time of the first tick; it differs between gateways that share a store */
  constructor(
    private readonly store: ReplicatedStore,
    private readonly peers: readonly string[],
    private readonly clock: Clock,
    private readonly intervalMs: number,
    private readonly phaseMs: number,
  ) {}

  /** @returns when the next exchange is due: at the tick nearest to REPLICATION_INTERVAL_MS after the start of the last one */
  nextAtMs(startedAtMs: number): number {
    const ticks = (startedAtMs - this.phaseMs) / this.intervalMs;
    return Math.round(ticks + 1) * this.intervalMs + this.phaseMs;
  }

  joinRead(leasedBuckets: readonly number[]): SharedRead {
    const nowMs = this.clock.nowMs();
    const current = this.#read;
    const isRecent = current !== null && nowMs - current.startedAtMs < SHARED_MS;
    if (isRecent && current.leasedBuckets === leasedBuckets) return current;
    this.#read = new SharedRead(this.store, this.peers, leasedBuckets, nowMs);
    return this.#read;
  }

  /** To be called after buckets changed otherwise than by operations, for example by a new incarnation. */
  invalidate(): void {
    this.#read = null;
  }
}

interface ChangesRead {
  readonly after: number;
  readonly deltas: Promise<readonly (Delta | null)[]>;
  readonly index: number;
}

/** The leased buckets of a gateway at one tick. */
export class SharedRead {
  readonly bucketStatuses: Promise<ReadonlyMap<number, BucketStatus>>;
  readonly #changes = new Map<number, ChangesRead>();

  constructor(
    private readonly store: ReplicatedStore,
    private readonly peers: readonly string[],
    readonly leasedBuckets: readonly number[],
    readonly startedAtMs: number,
  ) {
    this.bucketStatuses = store
      .bucketStatus(leasedBuckets)
      .then((statuses) => new Map(statuses.map((status, i) => [leasedBuckets[i]!, status] as const)));
  }

  /** `ReplicatedStore.changesSince`, reading only the requests that no other link has made. */
  async changesSince(requests: readonly ChangesRequest[]): Promise<readonly (Delta | null)[]> {
    const missing = requests.filter(({ bucket, after }) => this.#changes.get(bucket)?.after !== after);
    if (missing.length > 0) {
      const deltas = this.store.changesSince(missing, this.peers, CHANGES_MAX);
      // The first link may have failed before this read does, and then nothing awaits it.
      deltas.catch(() => undefined);
      for (const [index, { bucket, after }] of missing.entries()) this.#changes.set(bucket, { after, deltas, index });
    }
    const reads = requests.map(({ bucket }) => this.#changes.get(bucket)!);
    const found: (Delta | null)[] = [];
    for (const { deltas, index } of reads) found.push((await deltas)[index] ?? null);
    return found;
  }
}

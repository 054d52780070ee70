import type { Clock, Timer } from '../common/clock.js';
import type { Batch } from '../counters/batch.js';
import type { Operation } from '../counters/operation.js';
import type { RetainedBatch, BucketQueue } from './bucket-queue.js';
import type { Instant } from './instant.js';

/** Over all lanes: two seconds of full load, about 15 MB. */
const OPERATIONS_MAX = 100_000;
/** At the limit a tenth goes at once, so that looking for the oldest costs nothing a batch. */
const OPERATIONS_LEFT = 90_000;

/**
 * The batches that were confirmed recently, by lane: a store may come back without it (a replica that was promoted before it had the
 * last commits), and then they are sent again. The oldest go first: when they were kept for `retainMs` (at most twice that),
 * but not while the store, or a part of it, is away, because what is at risk then is at risk until it returns; or when there are too many. A
 * lane that is held loses none, since what the store still has of it is not known.
 *
 * Operations are copied, because those that wait hold their connections.
 */
export class RetainedBatches {
  /** The batches of lanes that are not held. */
  readonly #oldestFirst = new Set<RetainedBatch>();
  #operations = 0;
  #timer: Timer | null = null;

  /** @param retainMs 0 for a store that loses nothing: none is kept */
  constructor(
    private readonly clock: Clock,
    private readonly retainMs: number,
    private readonly whole: () => boolean,
  ) {}

  get operations(): number {
    return this.#operations;
  }

  retain(queue: BucketQueue, batch: Batch, committedAt: Instant): void {
    if (this.retainMs === 0) return;
    const kept = { queue, batch: { ...batch, operations: batch.operations.map(copyOf) }, committedAt };
    queue.retained.push(kept);
    if (!queue.pinned) this.#oldestFirst.add(kept);
    this.#operations += batch.operations.length;
    if (this.#operations > OPERATIONS_MAX) this.#dropWhile(() => this.#operations > OPERATIONS_LEFT);
    this.#timer ??= this.clock.after(this.retainMs, () => this.#expire());
  }

  pin(lane: BucketQueue): void {
    lane.pinned = true;
    for (const kept of lane.retained) this.#oldestFirst.delete(kept);
  }

  unpin(lane: BucketQueue): void {
    if (!lane.pinned) return;
    lane.pinned = false;
    for (const kept of lane.retained) this.#oldestFirst.add(kept);
  }

  /** Hands over the lane's batches with numbers above `batchNumber`, in order. */
  takeAfter(lane: BucketQueue, n: number): RetainedBatch[] {
    const at = lane.retained.findIndex(({ batch }) => batch.batchNumber > n);
    const taken = at === -1 ? [] : lane.retained.splice(at);
    for (const kept of taken) this.#gone(kept);
    return taken;
  }

  discard(lane: BucketQueue): void {
    this.takeAfter(lane, 0);
  }

  #expire(): void {
    const endMs = this.clock.nowMs() - this.retainMs;
    if (this.whole()) this.#dropWhile(({ committedAt: confirmed }) => confirmed.nowMs <= endMs);
    this.#timer = this.#operations > 0 ? this.clock.after(this.retainMs, () => this.#expire()) : null;
  }

  #dropWhile(condition: (oldest: RetainedBatch) => boolean): void {
    for (const kept of this.#oldestFirst) {
      if (!condition(kept)) return;
      kept.queue.retained.shift();
      this.#gone(kept);
    }
  }

  #gone(kept: RetainedBatch): void {
    this.#oldestFirst.delete(kept);
    this.#operations -= kept.batch.operations.length;
  }
}

function copyOf({ post, metric, kind, value, actor, session, seq }: Operation): Operation {
  return { post, metric, kind, value, actor, session, seq };
}

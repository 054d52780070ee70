import type { Clock, Timer } from '../common/clock.js';
import type { Batch } from '../counters/batch.js';
import type { Operation } from '../counters/operation.js';
import type { RetainedBatch, BucketQueue } from './bucket-queue.js';
import type { Instant } from './dual-clock-instant.js';

/** In all queues: two seconds of full load, about 15 MB. */
const OPERATIONS_MAX = 100_000;
/** At the maximum a tenth is dropped at once, so that finding the oldest costs no batch anything. */
const OPERATIONS_LEFT = 90_000;

/**
 * Recently committed batches, by queue. A store may come back without them, when a replica that had not received the last
 * commits was promoted; then they are replayed. The oldest are dropped when there are too many, or after `replayWindowMs`
 * (at most twice that). None expires while a part of the store is unreachable, because a failover may still lose it. A
 * pinned queue drops none, because it is unknown which of them the store still has.
 *
 * Operations are copied, because pending ones keep their connections in memory.
 */
export class RetainedBatches {
  /** The batches of queues that are not pinned. */
  readonly #oldestFirst = new Set<RetainedBatch>();
  #operations = 0;
  /** Batches without operations. */
  #empty = 0;
  #timer: Timer | null = null;

  /** @param replayWindowMs 0 for a store that loses nothing: none is retained */
  constructor(
    private readonly clock: Clock,
    private readonly replayWindowMs: number,
    private readonly allReachable: () => boolean,
  ) {}

  get operations(): number {
    return this.#operations;
  }

  /**
   * A batch of which nothing was done here is retained too, because a replay needs consecutive numbers. It counts as one operation.
   * @param isDone whether the operation with this index was done here. Another region may have counted the others
   */
  retain(queue: BucketQueue, batch: Batch, committedAt: Instant, isDone: (index: number) => boolean): void {
    if (this.replayWindowMs === 0) return;
    const operations = batch.operations.filter((_, i) => isDone(i)).map(copyOperation);
    const retained = { queue, batch: { ...batch, operations }, committedAt };
    queue.retained.push(retained);
    if (!queue.isPinned) this.#oldestFirst.add(retained);
    this.#operations += operations.length;
    if (operations.length === 0) this.#empty += 1;
    if (this.#size > OPERATIONS_MAX) this.#dropWhile(() => this.#size > OPERATIONS_LEFT);
    this.#timer ??= this.clock.after(this.replayWindowMs, () => this.#expire());
  }

  pin(queue: BucketQueue): void {
    queue.isPinned = true;
    for (const retained of queue.retained) this.#oldestFirst.delete(retained);
  }

  unpin(queue: BucketQueue): void {
    if (!queue.isPinned) return;
    queue.isPinned = false;
    for (const retained of queue.retained) this.#oldestFirst.add(retained);
  }

  /** Removes and returns the queue's batches with numbers above `batchNumber`, in order. */
  takeAfter(queue: BucketQueue, batchNumber: number): RetainedBatch[] {
    const at = queue.retained.findIndex(({ batch }) => batch.batchNumber > batchNumber);
    const taken = at === -1 ? [] : queue.retained.splice(at);
    for (const retained of taken) this.#forget(retained);
    return taken;
  }

  discard(queue: BucketQueue): void {
    this.takeAfter(queue, 0);
  }

  #expire(): void {
    const endMs = this.clock.nowMs() - this.replayWindowMs;
    if (this.allReachable()) this.#dropWhile(({ committedAt }) => committedAt.nowMs <= endMs);
    this.#timer = this.#size > 0 ? this.clock.after(this.replayWindowMs, () => this.#expire()) : null;
  }

  #dropWhile(condition: (oldest: RetainedBatch) => boolean): void {
    for (const retained of this.#oldestFirst) {
      if (!condition(retained)) return;
      retained.queue.retained.shift();
      this.#forget(retained);
    }
  }

  #forget(retained: RetainedBatch): void {
    this.#oldestFirst.delete(retained);
    const { length } = retained.batch.operations;
    this.#operations -= length;
    if (length === 0) this.#empty -= 1;
  }

  get #size(): number {
    return this.#operations + this.#empty;
  }
}

function copyOperation({
  post,
  metric,
  kind,
  value,
  actor,
  session,
  seq,
  atS,
  isForwarded,
  hops = 1,
}: Operation): Operation {
  const visit = kind === 'visit' && { atS: atS! };
  return { post, metric, kind, value, actor, session, seq, ...visit, ...(isForwarded && { isForwarded, hops }) };
}

import type { Batch } from '../counters/batch.js';
import type { Key64 } from '../counters/ids.js';
import type { Instant } from './dual-clock-instant.js';
import type { PendingOperation } from './pending-operation.js';

/** Operations that will be committed as one batch. */
export class OpenBatch {
  operations: PendingOperation[];
  /** Operations before this index missed their deadline. Their clients got UNAVAILABLE and are not answered again. */
  answeredFrom = 0;

  /** @param openedAtMs monotonic time at which the first operation arrived */
  constructor(
    first: PendingOperation,
    readonly openedAtMs: number,
  ) {
    this.operations = [first];
  }

  /** Yields operations that have waited since `sinceMs` or longer, each once: they count as answered. */
  *takeOverdue(sinceMs: number): Iterable<PendingOperation> {
    while (this.answeredFrom < this.operations.length) {
      const operation = this.operations[this.answeredFrom]!;
      if (operation.acceptedAtMs > sinceMs) return;
      this.answeredFrom += 1;
      yield operation;
    }
  }

  /** Removes all operations that `stays` does not select. @returns those of them that were not answered yet */
  keepOnly(stays: (operation: PendingOperation) => boolean): PendingOperation[] {
    const { operations, answeredFrom } = this;
    this.operations = operations.filter(stays);
    this.answeredFrom = operations.slice(0, answeredFrom).filter(stays).length;
    return operations.slice(answeredFrom).filter((operation) => !stays(operation));
  }
}

/** A session with operations on their way to another region. Its later ones wait. */
export interface AwaySession {
  readonly held: PendingOperation[];
}

export function toSessionName({ hi, lo }: Key64): string {
  return `${hi} ${lo}`;
}

/** A batch that the store has committed. */
export interface RetainedBatch {
  readonly queue: BucketQueue;
  readonly batch: Batch;
  readonly committedAt: Instant;
}

/**
 * The operations of one bucket, in the order of arrival: at most one batch in flight, others behind it, and the last
 * committed ones, in case the store loses them.
 *
 *     op op op →  [ filling ]  [ full ] …  →  in flight  →  store
 *                  waiting                        │ committed
 *                                              retained: n-3  n-2  n-1 →  replayed before n, if they are lost
 */
export class BucketQueue {
  readonly waiting: OpenBatch[] = [];
  inFlight: OpenBatch | null = null;
  /** Whether a batch is on its way to the store: the one in flight, or a retained one. No other may be sent meanwhile. */
  isSending = false;
  /** Number of the last batch that was sent. With the producer id it identifies the batch. */
  batchNumber = 0;
  lastCommitAt: Instant | null = null;
  /** Batches with consecutive numbers up to the last committed one; maintained by RetainedBatches. */
  readonly retained: RetainedBatch[] = [];
  /** Retained batches are not dropped while it is unknown which of them the store still has. */
  isPinned = false;
  /** The store was unreachable, and no batch that was sent since has been committed. */
  needsVerification = false;
  /** By name. Empty but near milestones that several regions share; at most as many as operations are pending. */
  readonly away = new Map<string, AwaySession>();
  /** The batch that `putBack` has made. */
  #putBack: OpenBatch | null = null;

  constructor(
    readonly bucket: number,
    public producerId: string,
  ) {}

  /** @returns whether the first waiting batch is full and need not wait for more operations */
  add(operation: PendingOperation, nowMs: number, batchMax: number): boolean {
    const last = this.waiting.at(-1);
    if (last === undefined || last.operations.length >= batchMax) this.waiting.push(new OpenBatch(operation, nowMs));
    else last.operations.push(operation);
    return this.waiting[0]!.operations.length >= batchMax;
  }

  /** Takes operations of sessions that are away out of a batch that is to be sent. */
  holdBack(batch: OpenBatch): void {
    if (this.away.size === 0) return;
    const findAway = ({ session }: PendingOperation): AwaySession | undefined =>
      session === null ? undefined : this.away.get(toSessionName(session));
    // None of them was answered: a session whose operations miss their deadline is withdrawn.
    for (const operation of batch.keepOnly((one) => findAway(one) === undefined))
      findAway(operation)!.held.push(operation);
  }

  /** Puts operations that were held back before all that wait. */
  putBack(operations: readonly PendingOperation[], batchMax: number): void {
    const [first, ...others] = operations;
    if (first === undefined) return;
    const [head] = this.waiting;
    if (head !== undefined && head === this.#putBack && head.operations.length + operations.length <= batchMax) {
      head.operations.push(...operations);
      return;
    }
    const batch = new OpenBatch(first, first.acceptedAtMs);
    batch.operations.push(...others.slice(0, batchMax - 1));
    this.putBack(others.slice(batchMax - 1), batchMax);
    this.waiting.unshift(batch);
    this.#putBack = batch;
  }

  /** Removes the waiting operations of sessions. @returns those that were not answered yet, and how many there were */
  withdraw(names: ReadonlySet<string>): { unanswered: PendingOperation[]; count: number } {
    const unanswered: PendingOperation[] = [];
    let count = 0;
    for (const batch of this.waiting) {
      count += batch.operations.length;
      unanswered.push(...batch.keepOnly(({ session }) => session === null || !names.has(toSessionName(session))));
      count -= batch.operations.length;
    }
    return { unanswered, count };
  }

  /** Yields operations that have waited since `sinceMs` or longer, each once: they count as answered. */
  *takeOverdue(sinceMs: number): Iterable<PendingOperation> {
    if (this.inFlight !== null) yield* this.inFlight.takeOverdue(sinceMs);
    for (const batch of this.waiting) yield* batch.takeOverdue(sinceMs);
  }
}

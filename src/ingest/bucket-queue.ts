import type { Batch } from '../counters/batch.js';
import type { Instant } from './instant.js';
import type { PendingOperation } from './pending-operation.js';

/** Operations that will be committed as one batch. */
export class OpenBatch {
  operations: PendingOperation[];
  /** How many of them, from the first on, missed their deadline: who asked was told, and is not answered again. */
  answeredFrom = 0;

  /** @param openedAtMs when its first operation came, on the monotonic clock */
  constructor(
    first: PendingOperation,
    readonly openedAtMs: number,
  ) {
    this.operations = [first];
  }

  /** Those that have waited since `sinceMs` or longer, each once: they count as told. */
  *takeOverdue(sinceMs: number): Iterable<PendingOperation> {
    while (this.answeredFrom < this.operations.length) {
      const operation = this.operations[this.answeredFrom]!;
      if (operation.acceptedAtMs > sinceMs) return;
      this.answeredFrom += 1;
      yield operation;
    }
  }

  /** Leaves only the operations that stay. @returns those of the others that were not told yet */
  keepOnly(stays: (operation: PendingOperation) => boolean): PendingOperation[] {
    const { operations, answeredFrom: told } = this;
    this.operations = operations.filter(stays);
    this.answeredFrom = operations.slice(0, told).filter(stays).length;
    return operations.slice(told).filter((operation) => !stays(operation));
  }
}

/** A batch that the store confirmed. */
export interface RetainedBatch {
  readonly queue: BucketQueue;
  readonly batch: Batch;
  readonly committedAt: Instant;
}

/**
 * The operations of one bucket, in the order they came: at most one batch in flight, others behind it, and the last
 * ones that were confirmed, in case the store loses them.
 *
 *     op op op →  [ filling ]  [ full ] …  →  in flight  →  store
 *                  waiting                        │ confirmed
 *                                              retained: n-3  n-2  n-1 →  sent again before it, when they are lost
 */
export class BucketQueue {
  readonly waiting: OpenBatch[] = [];
  inFlight: OpenBatch | null = null;
  /** Something is on its way: the batch in flight, or a retained one. Nothing else of the lane may be. */
  sending = false;
  /** Number of the last batch that was sent: its fence. */
  batchNumber = 0;
  /** When a batch was last confirmed. */
  lastCommitAt: Instant | null = null;
  /** Numbers without a gap up to the last confirmed; kept by RetainedBatches. */
  readonly retained: RetainedBatch[] = [];
  /** While it is not known what the store still has, all that is retained stays. */
  pinned = false;
  /** The store was away and nothing that was sent since has been confirmed. */
  needsVerification = false;

  constructor(
    readonly bucket: number,
    public producerId: string,
  ) {}

  /** @returns whether the batch at the head is full, and so need not wait for company. */
  add(operation: PendingOperation, nowMs: number, batchMax: number): boolean {
    const last = this.waiting.at(-1);
    if (last === undefined || last.operations.length >= batchMax) this.waiting.push(new OpenBatch(operation, nowMs));
    else last.operations.push(operation);
    return this.waiting[0]!.operations.length >= batchMax;
  }

  /** Operations that have waited since `sinceMs` or longer, each once: they count as told. */
  *takeOverdue(sinceMs: number): Iterable<PendingOperation> {
    if (this.inFlight !== null) yield* this.inFlight.takeOverdue(sinceMs);
    for (const batch of this.waiting) yield* batch.takeOverdue(sinceMs);
  }
}

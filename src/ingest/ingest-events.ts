import type { PostCounts } from '../counters/batch.js';
import type { ErrorCode } from '../protocol/errors.js';
import type { PendingOperation } from './pending-operation.js';

/** Emitted once a batch, after its operations were acknowledged. Replays of retained batches are not emitted. */
export interface CommittedBatch {
  readonly bucket: number;
  /** In the order in which they took effect. */
  readonly operations: readonly PendingOperation[];
  /** A byte an operation: the bits of src/counters/operation.ts. */
  readonly outcomes: Uint8Array;
  /** The counts after the batch of every post that it names. */
  readonly counts: ReadonlyMap<string, PostCounts>;
  /** Operations before this index missed their deadline: they were emitted as rejected, and nobody is notified of them. */
  readonly answeredFrom: number;
}

/** Operations whose clients got an error. After UNAVAILABLE an operation may be committed all the same. */
export interface RejectedOperations {
  readonly operations: readonly PendingOperation[];
  readonly code: ErrorCode;
}

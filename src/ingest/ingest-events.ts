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

/** An operation that another region has done. Its client has the outcome. */
export interface ForwardedOutcome {
  readonly operation: PendingOperation;
  readonly outcome: number;
}

/** An operation that failed because near a milestone its metric waits for other regions. */
export interface StalledOperation {
  readonly operation: PendingOperation;
  /** Those that it waits for, by name; none, if they are unknown. */
  readonly regions: readonly string[];
  /**
   * `unconfirmed`: they have not confirmed that this region decides. `silent`: the one that decides does not answer. `waiting`: it answers
   * that it waits itself. `removed`: the one that decides is not in PEERS any more.
   */
  readonly cause: 'unconfirmed' | 'silent' | 'waiting' | 'removed';
}

/** Operations whose clients got an error. After UNAVAILABLE an operation may be committed all the same. */
export interface RejectedOperations {
  readonly operations: readonly PendingOperation[];
  readonly code: ErrorCode;
}

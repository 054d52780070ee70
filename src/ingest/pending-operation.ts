import type { PostCounts } from '../counters/batch.js';
import type { Operation } from '../counters/operation.js';
import type { ErrorBody } from '../protocol/errors.js';

/** An operation on its way, and who is to be told. Exactly one of the two calls comes, once; neither may throw. */
export interface PendingOperation extends Operation {
  /** Set by ingest: when it was taken in, on the monotonic clock. */
  acceptedAtMs: number;
  /** Committed and durable. `outcome`: the bits of src/counters/operation.ts. */
  settled(outcome: number, counts: PostCounts): void;
  failed(error: ErrorBody): void;
}

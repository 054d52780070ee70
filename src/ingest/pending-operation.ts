import type { PostCounts } from '../counters/batch.js';
import type { Operation } from '../counters/operation.js';
import type { ErrorBody } from '../protocol/errors.js';

/** An operation on its way through ingest. Ingest calls `settled` or `failed`, one of them, once; neither may throw. */
export interface PendingOperation extends Operation {
  /** Monotonic time at which ingest accepted the operation; set by ingest. */
  acceptedAtMs: number;
  /** The id of the socket that sent the operation; `null` if it came over HTTP. */
  readonly socketId: string | null;
  /** Whether the actor may have other connections. An actor key that was made for one anonymous connection has none. */
  readonly notifiesActor: boolean;
  /** The operation is committed and durable. `outcome`: the bits of src/counters/operation.ts. */
  settled(outcome: number, counts: PostCounts): void;
  failed(error: ErrorBody): void;
}

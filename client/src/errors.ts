import type { ErrorBody, ErrorCode } from '../../src/protocol/errors.js';

/**
 * `CLOSED`: this client was closed. `QUEUE_FULL`: too many operations wait for the gateway. `TOKEN`: the token callback
 * failed. `OUTCOME_UNKNOWN`: the acknowledgement was lost and the operation can't be retried any more, so it may or may
 * not have been counted. The gateway sends the others; see docs/protocol.md.
 */
export class LiveCountsError extends Error {
  override readonly name = 'LiveCountsError';

  constructor(
    readonly code: ErrorCode | 'CLOSED' | 'QUEUE_FULL' | 'TOKEN' | 'OUTCOME_UNKNOWN',
    message: string,
    /** When the gateway can be expected to accept the same again; undefined if that is unknown. */
    readonly retryAfterMs?: number,
  ) {
    super(message);
  }

  static from(error: ErrorBody): LiveCountsError {
    return new LiveCountsError(error.code, error.message, error.retryAfterMs);
  }
}

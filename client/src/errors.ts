import type { ErrorBody, ErrorCode } from '../../src/protocol/errors.js';

/**
 * `CLOSED`: this client was closed. `QUEUE_FULL`: too many operations wait for the gateway. `TOKEN`: the token callback
 * failed. The others come from the gateway, see docs/protocol.md.
 */
export class LiveCountsError extends Error {
  override readonly name = 'LiveCountsError';

  constructor(
    readonly code: ErrorCode | 'CLOSED' | 'QUEUE_FULL' | 'TOKEN',
    message: string,
  ) {
    super(message);
  }

  static from(error: ErrorBody): LiveCountsError {
    return new LiveCountsError(error.code, error.message);
  }
}

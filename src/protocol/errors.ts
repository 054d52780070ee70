/** The errors that a client can get, on every transport: see "Errors" in docs/protocol.md. */

export const HTTP_STATUS = {
  BAD_REQUEST: 400,
  UNAUTHORIZED: 401,
  FORBIDDEN: 403,
  CONFLICT: 409,
  TOO_MANY_POSTS: 400,
  PAYLOAD_TOO_LARGE: 413,
  RATE_LIMITED: 429,
  OVERLOADED: 503,
  UNAVAILABLE: 503,
} as const;

export type ErrorCode = keyof typeof HTTP_STATUS;

export interface ErrorBody {
  readonly code: ErrorCode;
  readonly message: string;
  /** Whether the same request, sent again later, can succeed. */
  readonly retryable: boolean;
  /** Set where the gateway knows when a retry makes sense. */
  readonly retryAfterMs?: number;
}

const RETRYABLE: ReadonlySet<ErrorCode> = new Set(['RATE_LIMITED', 'OVERLOADED', 'UNAVAILABLE']);

export function errorBody(code: ErrorCode, message: string, retryAfterMs?: number): ErrorBody {
  const retryable = RETRYABLE.has(code);
  return retryAfterMs === undefined ? { code, message, retryable } : { code, message, retryable, retryAfterMs };
}

/** As a reason, and as the start of an error's message. */
export const GATEWAY_CLOSING = 'the gateway is closing';

/** For whatever comes in while the gateway closes. */
export const CLOSING_ERROR = errorBody('OVERLOADED', `${GATEWAY_CLOSING}; reconnect and retry`, 1_000);

/** For the clients of an address that has as many connections as it may. */
export const TOO_MANY_CONNECTIONS = errorBody(
  'RATE_LIMITED',
  'too many connections from your address; close some, or retry later',
  10_000,
);

/** An error for the client. `message` says what was wrong and what would be right. */
export class ProtocolError extends Error {
  readonly body: ErrorBody;

  constructor(code: ErrorCode, message: string, retryAfterMs?: number) {
    super(message);
    this.body = errorBody(code, message, retryAfterMs);
  }
}

/** @throws ProtocolError if `error` is one */
export function throwIfError(error: ErrorBody | null | undefined): void {
  if (error) throw new ProtocolError(error.code, error.message, error.retryAfterMs);
}

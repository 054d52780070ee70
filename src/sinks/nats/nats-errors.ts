import { JetStreamApiError } from '@nats-io/jetstream';
import { errors } from '@nats-io/transport-node';
import { SinkError } from '../sink.js';

/** Codes of the server: https://github.com/nats-io/nats-server/blob/main/server/errors.json */
const STREAM_NOT_FOUND = 10_059;
const WRONG_LAST_SEQUENCE: ReadonlySet<number> = new Set([10_071, 10_164]);
/** The account has no JetStream, the stream has another configuration, or another stream has its subjects. */
const CONFIGURATION: ReadonlySet<number> = new Set([10_035, 10_039, 10_052, 10_058, 10_065, 10_076]);

export function isStreamNotFound(error: unknown): boolean {
  return error instanceof JetStreamApiError && error.code === STREAM_NOT_FOUND;
}

/** Whether the stream's last message is not the one that was expected. */
export function isWrongLastSequence(error: unknown): boolean {
  return error instanceof JetStreamApiError && WRONG_LAST_SEQUENCE.has(error.code);
}

export function toSinkError(error: unknown): SinkError {
  if (error instanceof SinkError) return error;
  const { message, cause } = error as Error;
  // The client names some failures in the cause alone, and some with several lines.
  const text = [message, cause instanceof Error ? cause.message : ''].filter((one, i, all) => all.indexOf(one) === i);
  return new SinkError(text.filter((one) => one !== '').join(': '), needsConfiguration(error, cause), { cause: error });
}

function needsConfiguration(...failures: readonly unknown[]): boolean {
  return failures.some(
    (error) =>
      error instanceof errors.AuthorizationError ||
      error instanceof errors.PermissionViolationError ||
      (error instanceof JetStreamApiError && CONFIGURATION.has(error.code)),
  );
}

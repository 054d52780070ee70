import { JetStreamApiError } from '@nats-io/jetstream';

/** Codes of the server: https://github.com/nats-io/nats-server/blob/main/server/errors.json */
const STREAM_NOT_FOUND = 10_059;
const CONSUMER_NOT_FOUND = 10_014;
const NAME_IN_USE = 10_058;
/** "maximum bytes exceeded" and "maximum messages exceeded" have this code, and other failures to store, too. */
const STORE_FAILED = 10_077;

export function isStreamNotFound(error: unknown): boolean {
  return error instanceof JetStreamApiError && error.code === STREAM_NOT_FOUND;
}

/** The consumer is no longer there, perhaps because the stream was deleted or the server was restarted. */
export function isGone(error: unknown): boolean {
  const code = error instanceof JetStreamApiError ? error.code : 0;
  return code === STREAM_NOT_FOUND || code === CONSUMER_NOT_FOUND;
}

/** The stream exists, with another configuration. */
export function isConfigurationOfAnother(error: unknown): boolean {
  return error instanceof JetStreamApiError && error.code === NAME_IN_USE;
}

export function isFull(error: unknown): boolean {
  return (
    error instanceof JetStreamApiError && error.code === STORE_FAILED && /maximum \w+ exceeded/.test(error.message)
  );
}

import type { Server } from 'node:http';

/** Node closes a connection without a complete head after `headersTimeout`; some versions count from the previous request. */
const HEAD_AFTER_IDLE_MS = 1_000;
/**
 * The server closes a connection without progress for this long during a request or a response. Event streams have a
 * heartbeat every 15 s, and polls get a response within 15 s.
 */
const STALLED_MS = 60_000;

/**
 * Limits how long a client may take. It does not apply to WebSockets, which leave the server at their upgrade.
 * @param keepAliveMs how long a connection may wait for its next request
 */
export function limitConnectionTimes(server: Server, keepAliveMs: number, stalledMs = STALLED_MS): void {
  server.keepAliveTimeout = keepAliveMs;
  // The limit for a head must not be shorter than the pause between two requests.
  server.headersTimeout = Math.max(stalledMs, keepAliveMs + HEAD_AFTER_IDLE_MS);
  server.requestTimeout = server.headersTimeout;
  server.timeout = stalledMs;
}

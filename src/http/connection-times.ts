import type { Server } from 'node:http';

/** Node ends a connection whose head is not complete by `headersTimeout`, on some versions counted from the request before it. */
const HEAD_AFTER_IDLE_MS = 1_000;
/**
 * A connection on which nothing moves ends after this, while it sends a request or is sent an answer. Event streams have a
 * heartbeat each 15 s, and long-polling is answered within 15 s.
 */
const STALLED_MS = 60_000;

/**
 * Bounds how long a client may take. WebSockets are no longer the server's once they are upgraded.
 * @param keepAliveMs how long a connection may wait for its next request
 */
export function limitConnectionTimes(server: Server, keepAliveMs: number, stalledMs = STALLED_MS): void {
  server.keepAliveTimeout = keepAliveMs;
  // The time for a head must not end before the time between two requests does.
  server.headersTimeout = Math.max(stalledMs, keepAliveMs + HEAD_AFTER_IDLE_MS);
  server.requestTimeout = server.headersTimeout;
  server.timeout = stalledMs;
}

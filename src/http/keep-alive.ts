import type { Server } from 'node:http';

/** Node ends a connection whose head is not whole by `headersTimeout`, on some versions counted from the request before it. */
const HEAD_AFTER_IDLE_MS = 1_000;

/** How long a server keeps connections for their next request. Until then it must not give up a head that it awaits. */
export function keepAlive(server: Server, ms: number): void {
  server.keepAliveTimeout = ms;
  server.headersTimeout = Math.max(server.headersTimeout, ms + HEAD_AFTER_IDLE_MS);
}

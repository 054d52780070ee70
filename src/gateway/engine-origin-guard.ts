import { type IncomingMessage, ServerResponse } from 'node:http';
import type { Server } from 'socket.io';
import type { OriginPolicy } from '../access/origin-policy.js';
import { type ErrorBody, errorBody, HTTP_STATUS } from '../protocol/errors.js';
import { endWithError } from '../protocol/raw-http-error.js';
import { type EngineSocket, readId } from './transport/engine-internals.js';

const JSONP_REJECTED = 'JSONP is not served, because any page could use it; use a WebSocket, or polling without "j"';
const NAVIGATION_REJECTED = 'this URL is for Socket.IO clients; a browser cannot show it';

/**
 * Decides which pages may connect to Engine.IO, before a connection exists. The origin of a handshake itself is checked
 * later, by Handshake, because its rejection is an event on the connection: docs/protocol.md, "A refused origin".
 */
export class EngineOriginGuard {
  /** Ids of connections whose handshake has an origin that Handshake is about to reject. */
  readonly #rejectedLater = new Set<string>();

  constructor(private readonly origins: OriginPolicy) {}

  /** @returns why the request may not begin a handshake, for its client; `null` if it may */
  findRejection(request: IncomingMessage): string | null {
    if (parseQuery(request).has('j')) return JSONP_REJECTED;
    if (request.headers['sec-fetch-mode'] === 'navigate') return NAVIGATION_REJECTED;
    return request.headers.origin === undefined ? this.origins.findRejection(request) : null;
  }

  /**
   * Checks the origin of requests behind a handshake, too. A page reads from its own host without an `Origin`, so the name
   * of a page after DNS rebinding is first seen when it posts or upgrades.
   */
  watch({ engine }: Server): void {
    engine.on('connection', (connection: EngineSocket) => {
      if (this.origins.findRejection(connection.request) === null) return;
      const id = readId(connection);
      this.#rejectedLater.add(id);
      connection.once('close', () => this.#rejectedLater.delete(id));
    });
    engine.use((request: IncomingMessage, response: unknown, next: () => void) => {
      // If there are several, the last one counts, as for Engine.IO.
      const id = parseQuery(request).getAll('sid').at(-1) ?? null;
      const rejection = id === null || this.#rejectedLater.has(id) ? null : this.origins.findRejection(request);
      if (rejection === null) next();
      else respond(request, response, errorBody('FORBIDDEN', rejection));
    });
  }
}

/** For an upgrade, Engine.IO passes a response that can only end the connection. */
function respond(request: IncomingMessage, response: unknown, body: ErrorBody): void {
  if (!(response instanceof ServerResponse)) endWithError(request.socket, '403 Forbidden', body);
  else response.writeHead(HTTP_STATUS[body.code], { 'Content-Type': 'application/json' }).end(JSON.stringify(body));
}

function parseQuery({ url = '' }: IncomingMessage): URLSearchParams {
  return new URLSearchParams(url.slice(url.indexOf('?') + 1));
}

import { type IncomingMessage, ServerResponse } from 'node:http';
import type { Server, Socket } from 'socket.io';
import type { OriginPolicy } from '../access/origin-policy.js';
import { type ErrorBody, errorBody, HTTP_STATUS } from '../protocol/errors.js';
import { endWithError } from '../protocol/raw-response.js';

const JSONP_REFUSED = 'JSONP is not served, because it would let any page in; use a WebSocket, or polling without "j"';
const VISIT_REFUSED = 'this is for Socket.IO clients, and shows nothing to a person';

/**
 * Decides which pages may ask Engine.IO for a connection, before there is one. Handshake looks at the origin of a handshake
 * later, because its refusal is an event on the connection: docs/protocol.md, "A refused origin".
 */
export class PageGuard {
  /** Ids of the connections whose handshake has an origin that Handshake is about to refuse. */
  readonly #refusedLater = new Set<string>();

  constructor(private readonly origins: OriginPolicy) {}

  /** Why there may be no handshake, for the client; `null`: there may be one. */
  findRejection(request: IncomingMessage): string | null {
    if (queryOf(request).has('j')) return JSONP_REFUSED;
    if (request.headers['sec-fetch-mode'] === 'navigate') return VISIT_REFUSED;
    return request.headers.origin === undefined ? this.origins.findRejection(request) : null;
  }

  /**
   * Has the origin of what follows a handshake looked at, too. A page reads from its own host without an `Origin`, so a
   * page under a rebound name is first seen when it posts or upgrades.
   */
  watch({ engine }: Server): void {
    engine.on('connection', (connection: Socket['conn']) => {
      if (this.origins.findRejection(connection.request) === null) return;
      const id = idOf(connection);
      this.#refusedLater.add(id);
      connection.once('close', () => this.#refusedLater.delete(id));
    });
    engine.use((request: IncomingMessage, response: unknown, next: () => void) => {
      // As Engine.IO does, the last one if there are several.
      const id = queryOf(request).getAll('sid').at(-1) ?? null;
      const refused = id === null || this.#refusedLater.has(id) ? null : this.origins.findRejection(request);
      if (refused === null) next();
      else answer(request, response, errorBody('FORBIDDEN', refused));
    });
  }
}

/** Engine.IO's response to an upgrade only ends the connection. */
function answer(request: IncomingMessage, response: unknown, body: ErrorBody): void {
  if (!(response instanceof ServerResponse)) endWithError(request.socket, '403 Forbidden', body);
  else response.writeHead(HTTP_STATUS[body.code], { 'Content-Type': 'application/json' }).end(JSON.stringify(body));
}

/** The id that later requests name as `sid`. Engine.IO documents it, and leaves it out of its types. */
function idOf(connection: Socket['conn']): string {
  return (connection as unknown as { readonly id: string }).id;
}

function queryOf({ url = '' }: IncomingMessage): URLSearchParams {
  return new URLSearchParams(url.slice(url.indexOf('?') + 1));
}

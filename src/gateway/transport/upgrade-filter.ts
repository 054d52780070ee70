import { createServer, type IncomingMessage, type Server, type ServerOptions, type ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { ExpressAdapter } from '@nestjs/platform-express';
import { errorBody } from '../../protocol/errors.js';
import { endWithError } from '../../protocol/raw-http-error.js';

const NO_PROXY = 'this gateway is not a proxy: CONNECT is not served';
/** Hop-by-hop headers about an upgrade, which are dropped with it. */
const HEADERS_OF_UPGRADES: ReadonlySet<string> = new Set(['upgrade', 'http2-settings']);

type UpgradeListener = (request: IncomingMessage, socket: Socket, head: Buffer) => void;

/**
 * express on a server with a callback that decides which requests to upgrade (Node 24.9 and later, and later ones of 22). Older
 * ones emit `upgrade` for any `Upgrade` header and do not respond to such a request. Clients of HTTP/2 send that header with
 * each first request (h2c).
 */
export class UpgradeAwareAdapter extends ExpressAdapter {
  override initHttpServer(): void {
    const options = { shouldUpgradeCallback: wantsWebSocket } as ServerOptions;
    this.httpServer = createServer(options, this.getInstance());
  }
}

/**
 * Passes WebSockets at their path to the server's own listeners. Other upgrades are ignored, and the request gets a response over
 * HTTP/1.1: https://www.rfc-editor.org/rfc/rfc9110#section-7.8. To be called after those listeners were added.
 * @param path with a slash at its end
 */
export function takeWebSockets(server: Server, path: string): void {
  const elsewhere = `WebSockets are accepted only at ${path}, from Socket.IO clients; GET /v1/stream follows counts without one`;
  const listeners = server.listeners('upgrade') as UpgradeListener[];
  const responses = decidesUpgrades(server) ? null : new OpenResponses(server);
  server.removeAllListeners('upgrade');
  server.on('upgrade', (request: IncomingMessage, socket: Socket, head: Buffer) => {
    if (!wantsWebSocket(request)) {
      const serve = (): void => serveWithoutUpgrade(server, request, socket, head);
      if (responses === null) serve();
      else responses.onceFinished(socket, serve);
    } else if (!request.url!.startsWith(path)) {
      endWithError(socket, '404 Not Found', errorBody('BAD_REQUEST', elsewhere));
    } else {
      // Node has removed its listener, and if the request has to wait, the others are not added yet.
      socket.on('error', () => socket.destroy());
      // `ws` accepts a single name only.
      request.headers.upgrade = 'websocket';
      for (const listener of listeners) listener.call(server, request, socket, head);
    }
  });
  server.on('connect', (_request: IncomingMessage, socket: Socket) => {
    endWithError(socket, '400 Bad Request', errorBody('BAD_REQUEST', NO_PROXY));
  });
}

function decidesUpgrades(server: Server): boolean {
  return (server as { shouldUpgradeCallback?: unknown }).shouldUpgradeCallback === wantsWebSocket;
}

function wantsWebSocket({ headers: { upgrade = '' } }: IncomingMessage): boolean {
  return upgrade.split(',').some((protocol) => protocol.trim().toLowerCase() === 'websocket');
}

/** Returns the connection to the server, as Node documents it for `connection`, with the request rewritten without the upgrade. */
function serveWithoutUpgrade(server: Server, request: IncomingMessage, socket: Socket, head: Buffer): void {
  const lines = [`${request.method!} ${request.url!} HTTP/${request.httpVersion}`];
  const { rawHeaders } = request;
  for (let i = 0; i < rawHeaders.length; i += 2) {
    const name = rawHeaders[i]!.toLowerCase();
    const value = name === 'connection' ? withoutUpgrades(rawHeaders[i + 1]!) : rawHeaders[i + 1]!;
    if (!HEADERS_OF_UPGRADES.has(name) && (name !== 'connection' || value !== '')) lines.push(`${name}: ${value}`);
  }
  // Node had set a timeout for the time between two requests.
  socket.setTimeout(0);
  server.emit('connection', socket);
  socket.unshift(Buffer.concat([Buffer.from(`${lines.join('\r\n')}\r\n\r\n`, 'latin1'), head]));
}

function withoutUpgrades(connection: string): string {
  const names = connection.split(',').map((name) => name.trim());
  return names.filter((name) => !HEADERS_OF_UPGRADES.has(name.toLowerCase())).join(', ');
}

interface Unfinished {
  count: number;
  onceFinished: (() => void) | null;
}

/** Counts unfinished responses of each connection. The response to a later request must not overtake them. */
class OpenResponses {
  readonly #unfinished = new WeakMap<Socket, Unfinished>();

  constructor(server: Server) {
    server.prependListener('request', ({ socket }: IncomingMessage, response: ServerResponse) => {
      let unfinished = this.#unfinished.get(socket);
      if (unfinished === undefined) this.#unfinished.set(socket, (unfinished = { count: 0, onceFinished: null }));
      const counted = unfinished;
      counted.count += 1;
      response.once('close', () => {
        counted.count -= 1;
        if (counted.count === 0) counted.onceFinished?.();
      });
    });
  }

  /** Calls back when all responses are written; never if the connection ends before. */
  onceFinished(socket: Socket, callback: () => void): void {
    const unfinished = this.#unfinished.get(socket);
    if (unfinished === undefined || unfinished.count === 0) {
      callback();
      return;
    }
    // Meanwhile the connection has no other listener.
    const end = (): void => void socket.destroy();
    socket.on('error', end);
    unfinished.onceFinished = () => {
      unfinished.onceFinished = null;
      socket.off('error', end);
      if (!socket.destroyed) callback();
    };
  }
}

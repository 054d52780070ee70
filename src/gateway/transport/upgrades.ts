import { createServer, type IncomingMessage, type Server, type ServerOptions, type ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { ExpressAdapter } from '@nestjs/platform-express';
import { errorBody } from '../../protocol/errors.js';
import { endWithError } from '../../protocol/raw-response.js';

/** Where WebSockets are taken. */
const PATH = '/socket.io/';
const ELSEWHERE = `WebSockets are taken at ${PATH} alone, for Socket.IO clients; GET /v1/stream follows counts without one`;
const NO_PROXY = 'this gateway is no proxy: CONNECT is not served';
/** Headers of one connection: they end with the protocol that they were about. */
const HEADERS_OF_UPGRADES: ReadonlySet<string> = new Set(['upgrade', 'http2-settings']);

type UpgradeListener = (request: IncomingMessage, socket: Socket, head: Buffer) => void;

/**
 * express on a server that asks which requests to upgrade: Node 24.9 and later, and later ones of 22. Others emit `upgrade` for
 * any `Upgrade` header, as clients of HTTP/2 send it with each first request (h2c), and answer no such request.
 */
export class UpgradeAwareAdapter extends ExpressAdapter {
  override initHttpServer(): void {
    const options = { shouldUpgradeCallback: wantsWebSocket } as ServerOptions;
    this.httpServer = createServer(options, this.getInstance());
  }
}

/**
 * Lets the server's own listeners take WebSockets at their path. Other upgrades are ignored, and the request is answered over
 * HTTP/1.1: https://www.rfc-editor.org/rfc/rfc9110#section-7.8. To be called when those listeners are there.
 */
export function takeWebSockets(server: Server): void {
  const takers = server.listeners('upgrade') as UpgradeListener[];
  const responses = asksBeforeUpgrades(server) ? null : new OpenResponses(server);
  server.removeAllListeners('upgrade');
  server.on('upgrade', (request: IncomingMessage, socket: Socket, head: Buffer) => {
    if (!wantsWebSocket(request)) {
      const goOn = (): void => goOnWithout(server, request, socket, head);
      if (responses === null) goOn();
      else responses.whenAnswered(socket, goOn);
    } else if (!request.url!.startsWith(PATH)) {
      endWithError(socket, '404 Not Found', errorBody('BAD_REQUEST', ELSEWHERE));
    } else {
      // Node listens no more, and the takers do not yet, if the request has to wait.
      socket.on('error', () => socket.destroy());
      // `ws` takes the name alone, and no list.
      request.headers.upgrade = 'websocket';
      for (const take of takers) take.call(server, request, socket, head);
    }
  });
  server.on('connect', (_request: IncomingMessage, socket: Socket) => {
    endWithError(socket, '400 Bad Request', errorBody('BAD_REQUEST', NO_PROXY));
  });
}

function asksBeforeUpgrades(server: Server): boolean {
  return (server as { shouldUpgradeCallback?: unknown }).shouldUpgradeCallback === wantsWebSocket;
}

function wantsWebSocket({ headers: { upgrade = '' } }: IncomingMessage): boolean {
  return upgrade.split(',').some((protocol) => protocol.trim().toLowerCase() === 'websocket');
}

/** Gives the connection back to the server, as Node documents it for `connection`, with the request as it would be without upgrade. */
function goOnWithout(server: Server, request: IncomingMessage, socket: Socket, head: Buffer): void {
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

interface Unanswered {
  count: number;
  whenAnswered: (() => void) | null;
}

/** Responses that are not written yet, of each connection: a request behind them must not be answered before them. */
class OpenResponses {
  readonly #unanswered = new WeakMap<Socket, Unanswered>();

  constructor(server: Server) {
    server.prependListener('request', ({ socket }: IncomingMessage, response: ServerResponse) => {
      let unanswered = this.#unanswered.get(socket);
      if (unanswered === undefined) this.#unanswered.set(socket, (unanswered = { count: 0, whenAnswered: null }));
      const of = unanswered;
      of.count += 1;
      response.once('close', () => {
        of.count -= 1;
        if (of.count === 0) of.whenAnswered?.();
      });
    });
  }

  /** Calls back when all are written; never when the connection ends before. */
  whenAnswered(socket: Socket, callback: () => void): void {
    const unanswered = this.#unanswered.get(socket);
    if (unanswered === undefined || unanswered.count === 0) {
      callback();
      return;
    }
    // Between the two the connection has no other listener.
    const end = (): void => void socket.destroy();
    socket.on('error', end);
    unanswered.whenAnswered = () => {
      unanswered.whenAnswered = null;
      socket.off('error', end);
      if (!socket.destroyed) callback();
    };
  }
}

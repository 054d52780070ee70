import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import type { Server, Socket } from 'socket.io';
import { type ServerOptions, type WebSocket, WebSocketServer } from 'ws';
import { findWebSocket } from './direct-socket.js';

type Transport = Socket['conn']['transport'];

/** Parts that a message may come in. Libraries that send parts do so from some KiB on, and a message has at most 16 KiB. */
const FRAGMENTS_MAX = 16;
/** Pieces that TCP may bring a message in, each an object that is kept: 256 KiB come in 180 segments of a usual network. */
const PIECES_MAX = 1_024;
/** A client that does not answer a close frame is ended after this. */
export const CLOSE_TIMEOUT_MS = 2_000;

/** Documented, and missing in the types: https://github.com/websockets/ws/blob/8.21.3/doc/ws.md#new-websocketserveroptions-callback */
interface Closing {
  readonly closeTimeout: number;
}

/**
 * `ws` answers every ping whether the client reads or not: what a minute of them leaves waiting would fill the memory. So
 * one pong is on its way at a time, to the latest ping, as RFC 6455 allows in section 5.5.3. For Engine.IO's option `wsEngine`.
 */
export class OnePongServer extends WebSocketServer {
  constructor(options: ServerOptions) {
    const bounds = { autoPong: false, maxFragments: FRAGMENTS_MAX, maxBufferedChunks: PIECES_MAX };
    super({ ...options, ...bounds, closeTimeout: CLOSE_TIMEOUT_MS } as ServerOptions & Closing);
  }

  override handleUpgrade(
    request: IncomingMessage,
    socket: Duplex,
    head: Buffer,
    done: (webSocket: WebSocket, request: IncomingMessage) => void,
  ): void {
    super.handleUpgrade(request, socket, head, (webSocket) => {
      webSocket.on('ping', answerPing);
      done(webSocket, request);
    });
  }
}

/** Those who are told of WebSockets as they come. */
export interface UpgradePolicy {
  /** @returns whether the request may become a WebSocket */
  admits(request: IncomingMessage, socket: Duplex): boolean;
  webSocketOpened(webSocket: WebSocket, request: IncomingMessage, socket: Duplex): void;
}

const REFUSED = [
  'HTTP/1.1 429 Too Many Requests',
  'Connection: close',
  'Content-Length: 0',
  'Retry-After: 10',
  '',
  '',
].join('\r\n');

/** For `wsEngine`, which Engine.IO makes an object of. */
export function createGuardedServer(door: UpgradePolicy): typeof OnePongServer {
  return class extends OnePongServer {
    override handleUpgrade(...[request, socket, head, done]: Parameters<OnePongServer['handleUpgrade']>): void {
      if (!door.admits(request, socket)) {
        socket.on('error', () => undefined);
        socket.end(REFUSED, () => socket.destroy());
        return;
      }
      super.handleUpgrade(request, socket, head, (webSocket) => {
        door.webSocketOpened(webSocket, request, socket);
        done(webSocket, request);
      });
    }
  };
}

/** Engine.IO answers every probe before an upgrade, whether the client reads or not. So there is one probe. */
export function boundProbes({ engine }: Server): void {
  engine.on('connection', (connection: Socket['conn']) => void connection.on('upgrading', endSecondProbe));
}

const probed = new WeakSet<Transport>();

function endSecondProbe(transport: Transport): void {
  if (probed.has(transport)) {
    const webSocket = findWebSocket(transport);
    if (webSocket === undefined) transport.close();
    else webSocket.terminate();
  }
  probed.add(transport);
}

/** The latest ping of those that have a pong on its way; `null`: none came since. */
const pinged = new WeakMap<WebSocket, Buffer | null>();

function answerPing(this: WebSocket, data: Buffer): void {
  const answering = pinged.has(this);
  pinged.set(this, data);
  if (!answering) answer(this);
}

function answer(webSocket: WebSocket): void {
  const data = pinged.get(webSocket) ?? null;
  if (data === null) pinged.delete(webSocket);
  else {
    pinged.set(webSocket, null);
    webSocket.pong(data, false, () => answer(webSocket));
  }
}

import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import type { Server, Socket } from 'socket.io';
import { type ServerOptions, type WebSocket, WebSocketServer } from 'ws';
import { webSocketOf } from './direct-socket.js';

type Transport = Socket['conn']['transport'];

/**
 * `ws` answers every ping whether the client reads or not: what a minute of them leaves waiting would fill the memory. So
 * one pong is on its way at a time, to the latest ping, as RFC 6455 allows in section 5.5.3. For Engine.IO's option `wsEngine`.
 */
export class OnePongServer extends WebSocketServer {
  constructor(options: ServerOptions) {
    super({ ...options, autoPong: false });
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

/** Engine.IO answers every probe before an upgrade, whether the client reads or not. So there is one probe. */
export function boundProbes({ engine }: Server): void {
  engine.on('connection', (connection: Socket['conn']) => void connection.on('upgrading', endSecondProbe));
}

const probed = new WeakSet<Transport>();

function endSecondProbe(transport: Transport): void {
  if (probed.has(transport)) {
    const webSocket = webSocketOf(transport);
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

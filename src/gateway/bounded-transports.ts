import type { Server, Socket } from 'socket.io';
import { type WebSocket, webSocketOf } from './web-socket.js';

type EngineSocket = Socket['conn'];
type Transport = EngineSocket['transport'];

/**
 * `ws` answers every ping, and Engine.IO every probe before an upgrade, whether the client reads or not: what a minute of
 * them leaves waiting would fill the memory. So one pong is on its way at a time, to the latest ping, as RFC 6455 allows
 * in section 5.5.3; and there is one probe.
 */
export function boundTransports({ engine, httpServer }: Server): void {
  const takeOverPongs = (): void => {
    (engine as unknown as { ws: { options: { autoPong: boolean } } }).ws.options.autoPong = false;
  };
  takeOverPongs();
  // Engine.IO makes its WebSocket server anew then.
  httpServer.once('listening', takeOverPongs);
  engine.on('connection', (connection: EngineSocket) => {
    answerPings(connection.transport);
    connection.on('upgrade', answerPings);
    connection.on('upgrading', endSecondProbe);
  });
}

const probed = new WeakSet<Transport>();

function endSecondProbe(transport: Transport): void {
  if (probed.has(transport)) webSocketOf(transport)?.terminate();
  probed.add(transport);
}

function answerPings(transport: Transport): void {
  webSocketOf(transport)?.on('ping', answerPing);
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

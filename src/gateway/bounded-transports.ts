import type { Server, Socket } from 'socket.io';
import { webSocketOf } from './web-socket.js';

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
    const probed = new WeakSet<Transport>();
    connection.on('upgrading', (transport: Transport) => {
      if (probed.has(transport)) webSocketOf(transport)?.terminate();
      probed.add(transport);
    });
  });
}

function answerPings(transport: Transport): void {
  const webSocket = webSocketOf(transport);
  let latest: Buffer | null = null;
  let answering = false;
  const answer = (): void => {
    const data = latest;
    latest = null;
    answering = data !== null;
    if (data !== null) webSocket?.pong(data, false, answer);
  };
  webSocket?.on('ping', (data) => {
    latest = data;
    if (!answering) answer();
  });
}

import { HandshakeMemory } from '../transport/handshake-memory.js';
import type { Shortcuts } from '../transport/shortcuts.js';
import type { ProofServer } from './proof-server.js';
import { collectNumbers, encodeEvent, proveEnd, until } from './proof-steps.js';

/** A connection still receives, sends, answers pings and ends after its handshake's memory was released. */
export async function proveHandshakeMemory(server: ProofServer, shortcuts: Shortcuts): Promise<void> {
  const connection = await server.connect();
  const { socket, client, received } = connection;
  const numbers = collectNumbers(connection, shortcuts);
  socket.onAnyOutgoing(() => undefined);
  new HandshakeMemory(shortcuts.handshakeMemory).release(socket);
  const heartbeat = new Promise((resolve) => void socket.conn.once('heartbeat', resolve));
  client.send('3');
  await heartbeat;
  client.send(encodeEvent(0));
  socket.emit('proof');
  await until(() => numbers.length === 1 && received.length === 1);
  await proveEnd(server, connection);
}

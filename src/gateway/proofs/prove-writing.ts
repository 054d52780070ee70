import { createHash } from 'node:crypto';
import { DirectSocket, readUnsentPackets } from '../transport/direct-socket.js';
import type { LibuvWriteShortcut } from '../transport/libuv-writer.js';
import type { Shortcut } from '../transport/shortcut.js';
import type { Shortcuts } from '../transport/shortcuts.js';
import { WsFrameWriter } from '../transport/ws-frame-writer.js';
import { connectTcpPair, type ProofServer } from './proof-server.js';
import { check, proveEnd, until } from './proof-steps.js';

/** Loopback accepts some 6 MiB without a reader; these pieces are 64 MiB. */
const PIECE_BYTES = 2 ** 18;
const PIECES_MAX = 256;

/** Writes as much as the system accepts, more than that, and to a destroyed connection. */
export async function proveLibuvWrite(libuvWrite: LibuvWriteShortcut): Promise<void> {
  const { near, far } = await connectTcpPair();
  try {
    const written = createHash('sha1');
    const noted = (bytes: string | Buffer): Buffer => {
      written.update(bytes);
      return typeof bytes === 'string' ? Buffer.from(bytes) : bytes;
    };
    libuvWrite.observe(near, noted('by the stream'));
    const writer = libuvWrite.open(near);
    check(writer !== null, 'a TCP socket cannot be written to');
    writer.write(noted('past it'));
    const piece = Buffer.alloc(PIECE_BYTES, 'many bytes');
    for (let i = 0; i < PIECES_MAX && !writer.hasUnsent; i++) writer.write(noted(piece));
    check(writer.hasUnsent, 'nothing is unsent although the system accepts no more');
    near.end(noted('by the stream again'));
    const received = createHash('sha1');
    for await (const chunk of far) received.update(chunk as Buffer);
    check(received.digest('hex') === written.digest('hex'), 'the received bytes differ from the written ones');
    check(!writer.hasUnsent, 'something is unsent although everything was received');
    near.destroy();
    writer.write(piece);
  } finally {
    near.destroy();
    far.destroy();
  }
}

/** Writes between packets of socket.io, and after the client has left. */
export async function proveDirectWrite(server: ProofServer, shortcuts: Shortcuts): Promise<void> {
  const connection = await server.connect();
  const { socket, received } = connection;
  const direct = DirectSocket.open(socket.conn, shortcuts);
  check(direct !== null, 'a WebSocket cannot be written to');
  const writer = new WsFrameWriter();
  for (const text of ['4a', '4b']) {
    socket.conn.write('by socket.io');
    await until(() => direct.isOpen);
    writer.frame('', text);
    direct.write(writer.take());
  }
  socket.conn.write('last');
  await until(() => received.length === 5);
  const expected = '4by socket.io,4a,4by socket.io,4b,4last';
  check(received.join() === expected, 'the received frames differ from the sent ones');
  await proveEnd(server, connection);
  check(!direct.isOpen, 'the direct socket of a closed connection is open');
}

/** Packets behind one that is being sent wait in Engine.IO's list, in their order, until they are sent. */
export async function proveUnsentPackets(server: ProofServer, shortcut: Shortcut): Promise<void> {
  const { socket, received } = await server.connect();
  await until(() => socket.conn.transport.writable);
  const unsent = (): readonly unknown[] => readUnsentPackets(socket.conn, shortcut) ?? [];
  for (const packet of ['a', 'b', 'c']) socket.conn.write(packet);
  const [first] = unsent();
  check(unsent().length === 2 && first !== undefined, 'unsent packets are not in the list');
  socket.conn.write('d');
  check(unsent().length === 3 && unsent()[0] === first, 'unsent packets are in another order');
  await until(() => received.length === 4);
  check(unsent().length === 0, 'the list still has packets that were sent');
}

import { createHash } from 'node:crypto';
import { setImmediate, setTimeout as setTimeoutPromise } from 'node:timers/promises';
import { DirectSocket, readUnsentPackets as packetsWaiting } from './transport/direct-socket.js';
import { attachReceiver, receiveEvents } from './transport/event-receiver.js';
import { readFrames } from './ws-frame-reader.js';
import { WsFrameWriter } from './transport/ws-frame-writer.js';
import { Intake } from './intake.js';
import type { LibuvWriteShortcut } from './transport/libuv-writer.js';
import { connectTcpPair, type ProofConnection, ProofServer } from './transport/proof-server.js';
import { HandshakeMemory } from './transport/handshake-memory.js';
import type { Shortcut } from './transport/shortcut.js';
import type { Shortcuts } from './transport/shortcuts.js';

/** All proofs take some 50 ms of CPU. When one hangs, the boot is delayed by this, and those after it fail, too. */
const PROOFS_LIMIT_MS = 10_000;
/** In this many turns of the event loop comes what loopback has. */
const TURNS = 5;
/** Turns of a wait before it looks once a millisecond. */
const TURNS_AT_ONCE = 1_000;
/** Loopback takes some 6 MiB of which nothing is read. */
const PIECE_BYTES = 2 ** 18;
const PIECES_MAX = 256;

const TOO_LONG = `its proof, or one before it, took over ${PROOFS_LIMIT_MS} ms`;

type Proof = () => Promise<void>;

/**
 * Switches each shortcut on that does what it should on connections of this process with itself, and the others off. To
 * be called before the first client comes. Never throws.
 */
export async function proveShortcuts(shortcuts: Shortcuts): Promise<void> {
  const { libuvWrite, directWrite, unsentPackets, readPause, directRead, packetDecoder, handshakeMemory } = shortcuts;
  let server: ProofServer;
  try {
    server = await ProofServer.listen();
  } catch (error) {
    for (const shortcut of shortcuts.all) shortcut.disable(error);
    return;
  }
  const limit = new TimeLimit(PROOFS_LIMIT_MS);
  await prove(libuvWrite, limit, () => proveLibuvWrite(libuvWrite));
  await prove(packetDecoder, limit, () => provePacketDecoder(server, packetDecoder));
  await prove(directRead, limit, () => proveDirectRead(server, shortcuts));
  await prove(directWrite, limit, () => proveDirectWrite(server, shortcuts));
  await prove(unsentPackets, limit, () => proveUnsentPackets(server, unsentPackets));
  await prove(readPause, limit, () => proveReadPause(server, shortcuts));
  await prove(handshakeMemory, limit, () => proveHandshakeMemory(server, shortcuts));
  limit.cancel();
  server.close();
}

async function prove(shortcut: Shortcut, limit: TimeLimit, proof: Proof): Promise<void> {
  shortcut.enable();
  try {
    await Promise.race([proof(), limit.reached]);
  } catch (error) {
    shortcut.disable(error);
  }
}

class TimeLimit {
  /** Rejects when the time is over. */
  readonly reached: Promise<never>;
  #timer!: NodeJS.Timeout;

  constructor(ms: number) {
    this.reached = new Promise<never>((_, reject) => {
      this.#timer = setTimeout(() => reject(new Error(TOO_LONG)), ms);
    });
    this.reached.catch(() => undefined);
  }

  cancel(): void {
    clearTimeout(this.#timer);
  }
}

/** Writes what the system takes, more than it takes, and to a connection that is gone. */
async function proveLibuvWrite(libuvWrite: LibuvWriteShortcut): Promise<void> {
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
    check(writer.hasUnsent, 'nothing waits for a system that takes no more');
    near.end(noted('by the stream again'));
    const received = createHash('sha1');
    for await (const chunk of far) received.update(chunk as Buffer);
    check(received.digest('hex') === written.digest('hex'), 'other bytes came than were written');
    check(!writer.hasUnsent, 'something waits when all was sent');
    near.destroy();
    writer.write(piece);
  } finally {
    near.destroy();
    far.destroy();
  }
}

async function provePacketDecoder(server: ProofServer, packetDecoder: Shortcut): Promise<void> {
  const { socket, client } = await server.connect();
  const events: string[] = [];
  const note = (event: string, id: number | null): void => void events.push(`${event} ${id ?? 'none'}`);
  const receiver = {
    act: (event: string, _post: string, _seq: unknown, id: number | null) => note(event, id),
    event: (event: string, _args: unknown, id: number | null) => note(event, id),
    otherPacket: () => undefined,
  };
  if (!attachReceiver(socket, receiver, packetDecoder)) return;
  client.send('427["like",{"post":"1"}]');
  client.send('42["proof",1]');
  await until(() => events.length === 2);
  check(events.join() === 'like 7,proof none', 'events came otherwise than they were sent');
}

/** Sends frames whole, several at once, cut, fragmented, with a ping between, and not of ASCII. */
async function proveDirectRead(server: ProofServer, shortcuts: Shortcuts): Promise<void> {
  const connection = await server.connect();
  const { socket, client, tcp } = connection;
  const numbers = numbersReceived(connection, shortcuts);
  let passedOn = 0;
  let pongs = 0;
  socket.conn.on('packet', () => (passedOn += 1));
  client.on('pong', () => (pongs += 1));
  readFrames(socket.conn, shortcuts.directRead, Intake.unlimited());

  tcp.cork();
  for (const number of [0, 1, 2]) client.send(proof(number));
  tcp.uncork();
  await until(() => numbers.length === 3);
  check(passedOn === 0, 'frames went through ws');

  const frame = maskedFrame(proof(3));
  for (const part of [frame.subarray(0, 1), frame.subarray(1, 9), frame.subarray(9)]) {
    await new Promise((sent) => tcp.write(part, sent));
    await pass(TURNS);
  }
  client.send('42["proof",', { fin: false });
  client.ping();
  client.send('4]', { fin: true });
  client.send(`42["proof",5,"ä"]`);
  client.send(proof(6));
  await until(() => numbers.length === 7 && pongs === 1);
  check(numbers.join() === '0,1,2,3,4,5,6', 'messages came otherwise than they were sent');
  await proveEnd(server, connection);
}

/** Writes between what socket.io writes, and after the client has left. */
async function proveDirectWrite(server: ProofServer, shortcuts: Shortcuts): Promise<void> {
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
  check(received.join() === expected, 'frames came otherwise than they were sent');
  await proveEnd(server, connection);
  check(!direct.isOpen, 'a connection stays open that is closed');
}

/** Packets behind one that is being sent wait in Engine.IO's list, in their order, until they are sent. */
async function proveUnsentPackets(server: ProofServer, shortcut: Shortcut): Promise<void> {
  const { socket, received } = await server.connect();
  await until(() => socket.conn.transport.writable);
  const waiting = (): readonly unknown[] => packetsWaiting(socket.conn, shortcut) ?? [];
  for (const packet of ['a', 'b', 'c']) socket.conn.write(packet);
  const [first] = waiting();
  check(waiting().length === 2 && first !== undefined, 'packets wait elsewhere');
  socket.conn.write('d');
  check(waiting().length === 3 && waiting()[0] === first, 'packets wait in another order');
  await until(() => received.length === 4);
  check(waiting().length === 0, 'packets wait that were sent');
}

async function proveReadPause(server: ProofServer, shortcuts: Shortcuts): Promise<void> {
  const connection = await server.connect();
  const direct = DirectSocket.open(connection.socket.conn, shortcuts);
  check(direct !== null, 'there is no direct socket to pause');
  const numbers = numbersReceived(connection, shortcuts);
  check(direct.pauseReading(), 'reading does not stop');
  direct.restartPingTimeout();
  await new Promise<void>((sent) => connection.client.send(proof(0), () => sent()));
  await pass(TURNS);
  check(numbers.length === 0, 'something is read while reading is stopped');
  direct.resumeReading();
  check(shortcuts.readPause.isOn, 'reading does not start again');
  await until(() => numbers.length === 1);
}

async function proveHandshakeMemory(server: ProofServer, shortcuts: Shortcuts): Promise<void> {
  const connection = await server.connect();
  const { socket, client, received } = connection;
  const numbers = numbersReceived(connection, shortcuts);
  socket.onAnyOutgoing(() => undefined);
  new HandshakeMemory(shortcuts.handshakeMemory).release(socket);
  const heartbeat = new Promise((resolve) => void socket.conn.once('heartbeat', resolve));
  client.send('3');
  await heartbeat;
  client.send(proof(0));
  socket.emit('proof');
  await until(() => numbers.length === 1 && received.length === 1);
  await proveEnd(server, connection);
}

/** Closes the connection; the server must be told so, once. */
async function proveEnd(server: ProofServer, { socket, client }: ProofConnection): Promise<void> {
  const others = server.size - 1;
  let ends = 0;
  socket.on('disconnect', () => (ends += 1));
  client.close();
  await until(() => server.size === others && ends > 0 && socket.conn.readyState === 'closed');
  await pass(TURNS);
  check(ends === 1, `the end of a connection was told ${ends} times`);
}

/** @returns the numbers of the events that come, as they come */
function numbersReceived({ socket }: ProofConnection, { packetDecoder }: Shortcuts): number[] {
  const numbers: number[] = [];
  const receiver = {
    act: () => undefined,
    event: (_: string, [number]: readonly unknown[]) => numbers.push(Number(number)),
    otherPacket: () => undefined,
  };
  receiveEvents(socket, receiver, packetDecoder);
  return numbers;
}

function proof(number: number): string {
  return `42["proof",${number}]`;
}

/** A short frame as a client sends it, with a mask that changes nothing. RFC 6455, section 5.2. */
function maskedFrame(text: string): Buffer {
  return Buffer.concat([Buffer.from([0x81, 0x80 | text.length, 0, 0, 0, 0]), Buffer.from(text)]);
}

/** Looks once a turn of the event loop. */
async function until(reached: () => boolean): Promise<void> {
  const endMs = performance.now() + PROOFS_LIMIT_MS;
  for (let turn = 0; !reached(); turn++) {
    if (performance.now() > endMs) throw new Error(TOO_LONG);
    // A proof that hangs must not keep a core busy.
    if (turn < TURNS_AT_ONCE) await setImmediate();
    else await setTimeoutPromise(1);
  }
}

async function pass(turns: number): Promise<void> {
  for (let turn = 0; turn < turns; turn++) await setImmediate();
}

function check(holds: boolean, otherwise: string): asserts holds {
  if (!holds) throw new Error(otherwise);
}

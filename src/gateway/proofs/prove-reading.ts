import { DirectSocket } from '../transport/direct-socket.js';
import { attachReceiver } from '../transport/receive-events.js';
import type { ReaderLimits } from '../transport/reader-limits.js';
import type { Shortcut } from '../transport/shortcut.js';
import type { Shortcuts } from '../transport/shortcuts.js';
import { readFrames } from '../transport/ws-frame-reader.js';
import type { ProofServer } from './proof-server.js';
import { check, collectNumbers, encodeEvent, proveEnd, TURNS, until, waitTurns } from './proof-steps.js';

export async function provePacketDecoder(server: ProofServer, packetDecoder: Shortcut): Promise<void> {
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
  check(events.join() === 'like 7,proof none', 'the received events differ from the sent ones');
}

/** Sends frames whole, several at once, cut, fragmented, with a ping between, and one that is not ASCII. */
export async function proveDirectRead(server: ProofServer, shortcuts: Shortcuts): Promise<void> {
  const connection = await server.connect();
  const { socket, client, tcp } = connection;
  const numbers = collectNumbers(connection, shortcuts);
  let packets = 0;
  let pongs = 0;
  socket.conn.on('packet', () => (packets += 1));
  client.on('pong', () => (pongs += 1));
  readFrames(socket.conn, shortcuts.directRead, createUnlimited());

  tcp.cork();
  for (const number of [0, 1, 2]) client.send(encodeEvent(number));
  tcp.uncork();
  await until(() => numbers.length === 3);
  check(packets === 0, 'frames went through ws');

  const frame = encodeMaskedFrame(encodeEvent(3));
  for (const piece of [frame.subarray(0, 1), frame.subarray(1, 9), frame.subarray(9)]) {
    await new Promise((resolve) => tcp.write(piece, resolve));
    await waitTurns(TURNS);
  }
  client.send('42["proof",', { fin: false });
  client.ping();
  client.send('4]', { fin: true });
  client.send(`42["proof",5,"ä"]`);
  client.send(encodeEvent(6));
  await until(() => numbers.length === 7 && pongs === 1);
  check(numbers.join() === '0,1,2,3,4,5,6', 'the received messages differ from the sent ones');
  await proveEnd(server, connection);
}

export async function proveReadPause(server: ProofServer, shortcuts: Shortcuts): Promise<void> {
  const connection = await server.connect();
  const direct = DirectSocket.open(connection.socket.conn, shortcuts);
  check(direct !== null, 'there is no direct socket to pause');
  const numbers = collectNumbers(connection, shortcuts);
  check(direct.pauseReading(), 'reading does not stop');
  direct.restartPingTimeout();
  await new Promise<void>((resolve) => connection.client.send(encodeEvent(0), () => resolve()));
  await waitTurns(TURNS);
  check(numbers.length === 0, 'a message is read while reading is stopped');
  direct.resumeReading();
  check(shortcuts.readPause.isOn, 'reading does not start again');
  await until(() => numbers.length === 1);
}

/** The proof sends less than a turn may handle, so its input is never deferred. */
function createUnlimited(): ReaderLimits {
  return { isBlocked: false, deferredBytes: null, spendBytes: () => undefined, deferRest: () => undefined };
}

/** A short frame as a client sends it, with a mask that changes nothing. RFC 6455, section 5.2. */
function encodeMaskedFrame(text: string): Buffer {
  return Buffer.concat([Buffer.from([0x81, 0x80 | text.length, 0, 0, 0, 0]), Buffer.from(text)]);
}

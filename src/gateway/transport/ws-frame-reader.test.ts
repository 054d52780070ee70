import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { type AddressInfo, connect, type Socket as TcpSocket } from 'node:net';
import { Server } from 'socket.io';
import { provedShortcuts } from '../../../test/support/proved-shortcuts.js';
import { encodeFrame, OPCODE } from '../../../test/support/raw-socket.js';
import { Random } from '../../../test/support/random.js';
import { unlimitedFlowControl } from '../../../test/support/unlimited-flow-control.js';
import { until } from '../../../test/support/until.js';
import { readFrames } from './ws-frame-reader.js';
import { type EngineSocket, findWebSocket } from './engine-internals.js';
import type { Shortcut } from './shortcut.js';

const SEED = Number(process.env['TEST_SEED'] ?? Date.now() % 1_000_000);
const SCALE = Number(process.env['TEST_SCALE'] ?? 1);
const RUNS = 40 * SCALE;
const LENGTHS = [1, 2, 50, 123, 124, 125, 126, 127, 300, 65_533, 65_534, 65_535, 70_000];
const HELLO = encodeFrame('4hello', { mask: Buffer.from([1, 2, 3, 4]) });

let shortcut: Shortcut;

beforeAll(async () => {
  shortcut = (await provedShortcuts()).directRead;
});

afterAll(() => expect(shortcut.isOn).toBe(true));

const clients: TcpSocket[] = [];
const servers: Server[] = [];

afterEach(async () => {
  for (const client of clients.splice(0)) client.destroy();
  for (const server of servers.splice(0)) await server.close();
});

/** A WebSocket of Engine.IO's whose client is a bare TCP socket. */
async function connected(
  onMessage: (conn: EngineSocket) => void = () => undefined,
): Promise<{ conn: EngineSocket; tcp: TcpSocket; taken: string[] }> {
  const http = createServer();
  const server = new Server(http);
  servers.push(server);
  http.listen(0, '127.0.0.1');
  await once(http, 'listening');
  const tcp = connect((http.address() as AddressInfo).port, '127.0.0.1');
  clients.push(tcp.on('error', () => undefined).resume());
  tcp.write(
    'GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\n' +
      'Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n',
  );
  const [conn] = (await once(server.engine, 'connection')) as [EngineSocket];
  const taken: string[] = [];
  // Remove Socket.IO's listener, because these packets are not of its protocol.
  conn.removeAllListeners('data');
  conn.on('data', (data: string | Buffer) => {
    taken.push(data.toString());
    onMessage(conn);
  });
  readFrames(conn, shortcut, unlimitedFlowControl());
  return { conn, tcp, taken };
}

/** The state of `ws`'s own receiver. */
function findReceiver({ transport }: EngineSocket): { readonly _bufferedBytes: number; readonly _fragmented: number } {
  return (findWebSocket(transport) as unknown as { _receiver: ReturnType<typeof findReceiver> })._receiver;
}

function randomMask(random: Random): Buffer {
  return Buffer.from([0, 1, 2, 3].map(() => random.below(256)));
}

/** Frames of one message, or of none, and the message that Engine.IO emits for them. */
function randomFrames(random: Random): { bytes: Buffer; message: string | null } {
  const filler = random.below(5) === 0 ? 'ä' : 'abc';
  const message = filler.repeat(random.pick(LENGTHS)).slice(0, random.pick(LENGTHS));
  const payload = Buffer.from(`4${message}`);
  const mask = randomMask(random);
  const kind = random.below(10);
  if (kind === 0) return { bytes: encodeFrame('are you there', { opcode: OPCODE.ping, mask }), message: null };
  if (kind === 1) return { bytes: encodeFrame(payload.subarray(1), { opcode: OPCODE.binary, mask }), message };
  if (kind > 2) return { bytes: encodeFrame(payload, { mask }), message };
  const at = random.below(payload.length + 1);
  const frames = [encodeFrame(payload.subarray(0, at), { fin: false, mask })];
  if (random.below(2) === 0) frames.push(encodeFrame('', { opcode: OPCODE.ping, mask }));
  return {
    bytes: Buffer.concat([...frames, encodeFrame(payload.subarray(at), { opcode: OPCODE.continuation })]),
    message,
  };
}

describe('reading frames where TCP brings them', () => {
  it('the reader drops bytes that are not read yet when either side ends the connection', async () => {
    const many = Buffer.concat([...Array<Buffer>(500).fill(HELLO), ...Array<Buffer>(500).fill(encodeFrame('6'))]);
    for (const end of [
      (conn: EngineSocket) => findWebSocket(conn.transport)!.terminate(),
      (conn: EngineSocket) => conn.close(),
    ]) {
      const { conn, tcp, taken } = await connected(end);
      tcp.write(many);
      await until(() => conn.readyState === 'closed', 'the end');
      tcp.destroy();
      await until(() => findWebSocket(conn.transport)!.readyState === 3, 'the end of TCP');
      for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve));
      // `ws` emits the rest of the bytes that it got in that turn.
      expect(taken.length).toBeLessThan(200);
    }
  });

  it(`the reader returns the same messages in the same order, however they are sent and split (TEST_SEED=${SEED})`, async () => {
    const random = new Random(SEED);
    for (let run = 0; run < RUNS; run++) {
      const { tcp, taken } = await connected();
      const sent = Array.from({ length: 1 + random.below(30) }, () => randomFrames(random));
      const bytes = Buffer.concat(sent.map((one) => one.bytes));
      for (let at = 0; at < bytes.length;) {
        const end = at + 1 + random.below(random.pick([3, 100, 5_000, 100_000]));
        tcp.write(bytes.subarray(at, end));
        at = end;
        if (random.below(2) === 0) await new Promise((resolve) => void setImmediate(resolve));
      }
      const messages = sent.flatMap(({ message }) => (message === null ? [] : [message]));
      await until(() => taken.length >= messages.length, 'all messages have come');
      expect(taken.length).toBe(messages.length);
      taken.forEach((message, i) => expect(message === messages[i]).toBe(true));
      tcp.destroy();
    }
  });

  it('the reader ignores bytes behind a close frame and after the connection is closed', async () => {
    const closing = await connected();
    closing.tcp.write(Buffer.concat([HELLO, encodeFrame(Buffer.from([3, 232]), { opcode: OPCODE.close }), HELLO]));
    await once(closing.conn, 'close');
    expect(closing.taken).toEqual(['hello']);

    const closed = await connected((conn) => conn.close(true));
    closed.tcp.write(Buffer.concat([HELLO, HELLO, HELLO]));
    await until(() => closed.conn.readyState === 'closed', 'it is closed');
    await new Promise((resolve) => void setImmediate(resolve));
    expect(closed.taken).toEqual(['hello']);
  });

  it.each([
    ['without a mask', Buffer.from([0x81, 2, 0x34, 0x61])],
    ['with bits that are reserved', Buffer.from([0xc1, 0x82, 0, 0, 0, 0, 0x34, 0x61])],
    ['that is no UTF-8', Buffer.from([0x81, 0x82, 0, 0, 0, 0, 0x34, 0xff])],
    ['that continues nothing', Buffer.from([0x80, 0x82, 0, 0, 0, 0, 0x34, 0x61])],
  ])('the reader leaves a frame %s to ws, which rejects it', async (_title, bad) => {
    const { conn, tcp, taken } = await connected();
    tcp.write(Buffer.concat([HELLO, bad]));
    await once(conn, 'close');
    expect(taken).toEqual(['hello']);
  });

  it('the reader reads nothing while the connection is closing', async () => {
    const { tcp, conn, taken } = await connected((closing) => {
      // The second waits for the first to be sent, and the end for both.
      for (const packet of ['a', 'b']) closing.write(packet);
      closing.close();
    });
    tcp.write(Buffer.concat([HELLO, HELLO, HELLO]));
    await until(() => conn.readyState === 'closed', 'it is closed');
    expect(taken).toEqual(['hello']);
  });

  it('the reader leaves a frame inside an unfinished message to ws, which rejects it', async () => {
    const { conn, tcp, taken } = await connected();
    const receiver = findReceiver(conn);
    tcp.write(encodeFrame('4part', { fin: false }));
    await until(() => receiver._fragmented > 0, 'the first fragment has come');
    tcp.write(HELLO);
    await once(conn, 'close');
    expect(taken).toEqual([]);
  });

  it('the reader does not mistake the rest of a frame for a frame', async () => {
    const { conn, tcp, taken } = await connected();
    const receiver = findReceiver(conn);
    // Behind the first byte, what follows looks like a text frame of six bytes that begins with a 4.
    const pong = encodeFrame('3', { mask: Buffer.from([0x86, 0xb5, 0x80, 0x00]) });
    tcp.write(pong.subarray(0, 1));
    await until(() => receiver._bufferedBytes === 1, 'the first byte has come');
    tcp.write(
      Buffer.concat([pong.subarray(1), encodeFrame('4hello', { mask: Buffer.from([0x01, 0x80, 0x80, 0x84]) })]),
    );
    await until(() => taken.length > 0, 'a message has come');
    expect(taken).toEqual(['hello']);
  });

  it('the reader emits packets to Engine.IO while a ping is unanswered', async () => {
    const { conn, tcp, taken } = await connected();
    let packets = 0;
    conn.on('packet', () => (packets += 1));
    tcp.write(HELLO);
    await until(() => taken.length === 1, 'the first has come');
    expect(packets).toBe(0);
    Reflect.set(
      conn,
      'pingTimeoutTimer',
      setTimeout(() => undefined, 0),
    );
    tcp.write(HELLO);
    await until(() => taken.length === 2, 'the second has come');
    expect(packets).toBe(1);
  });
});

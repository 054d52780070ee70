import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Server } from 'socket.io';
import { io, type Socket } from 'socket.io-client';
import { OperationLimiter, TokenBucket } from '../../src/access/rate-limit.js';
import { systemClock } from '../../src/common/clock.js';
import { Frame, EncodedUpdate } from '../../src/fanout/frame.js';
import { Connection, type GatewaySocket } from '../../src/gateway/connection.js';
import { DirectSocket, findWebSocket } from '../../src/gateway/transport/direct-socket.js';
import { Intake } from '../../src/gateway/intake.js';
import { AckQueue } from '../../src/gateway/ack-queue.js';
import type { Shortcuts } from '../../src/gateway/transport/shortcuts.js';
import { provedShortcuts } from '../support/proved-shortcuts.js';
import { Random } from '../support/random.js';
import { until } from '../support/until.js';

const SEED = Number(process.env['TEST_SEED'] ?? Date.now() % 1_000_000);
const SCALE = Number(process.env['TEST_SCALE'] ?? 1);
const WRITES = 2_000 * SCALE;
/** Longer than 125 and than 65,535 bytes: the length of a WebSocket frame has three forms. */
const LENGTHS = [1, 125, 126, 200, 65_535, 65_536, 70_000];

const servers: Server[] = [];
const clients: Socket[] = [];

let shortcuts: Shortcuts;

beforeEach(async () => {
  shortcuts = await provedShortcuts();
});

afterEach(async () => {
  for (const client of clients.splice(0)) client.disconnect();
  for (const server of servers.splice(0)) await server.close();
});

/** A socket.io server's end of one connection, and the client's. */
async function connected(transports: string[]): Promise<{ connection: Connection; client: Socket }> {
  const http = createServer();
  const server = new Server(http);
  servers.push(server);
  http.listen(0, '127.0.0.1');
  await once(http, 'listening');
  const client = io(`http://127.0.0.1:${(http.address() as AddressInfo).port}`, { transports, reconnection: false });
  clients.push(client);
  const [socket] = (await once(server, 'connection')) as [GatewaySocket];
  const bucket = new TokenBucket(0, 0);
  const limit = new OperationLimiter(bucket, null);
  const outbox = new AckQueue(systemClock);
  const intake = Intake.unlimited();
  const actor = { hi: 0, lo: 0 };
  const connection = new Connection(socket, outbox, systemClock, shortcuts, intake, actor, limit, bucket, null);
  return { connection, client };
}

/** What the client has been sent, in the order it came: answers, frames and events tell their number. */
function received(client: Socket): number[] {
  const numbers: number[] = [];
  client.io.engine.on('message', (message: string) => {
    const number = /^(?:3(\d+)\[|2\["counts",\[(\d+),|2\["mine",\{"post":"(\d+)")/.exec(message);
    if (number !== null) numbers.push(Number(number[1] ?? number[2] ?? number[3]));
  });
  return numbers;
}

describe.each([[['websocket']], [['polling']], [['polling', 'websocket']]])('over %j', (transports) => {
  it(`answers, frames and socket.io's own events come in the order they were written (TEST_SEED=${SEED})`, async () => {
    const random = new Random(SEED);
    const { connection, client } = await connected(transports);
    const numbers = received(client);
    let direct = 0;
    for (let i = 0; i < WRITES; i++) {
      if (DirectSocket.open(connection.socket.conn, shortcuts)?.isOpen) direct += 1;
      const what = random.below(8);
      if (what === 0) connection.socket.emit('mine', { post: String(i), metric: 'likes', on: true });
      else if (what < 5) connection.acknowledge(i, JSON.stringify('x'.repeat(random.pick(LENGTHS.slice(0, 4)))));
      else
        connection.write(
          new Frame([
            new EncodedUpdate(String(i)),
            new EncodedUpdate(JSON.stringify('x'.repeat(random.pick(LENGTHS)))),
          ]),
        );
      if (random.below(4) === 0) await new Promise((resolve) => void setImmediate(resolve));
    }
    await until(() => numbers.length === WRITES, 'all have come');
    expect(numbers).toEqual(Array.from({ length: WRITES }, (_, i) => i));
    if (transports.includes('websocket')) expect(direct).toBeGreaterThan(0);
    else expect(direct).toBe(0);
  });
});

describe('the way past socket.io', () => {
  it('is open when nothing waits, and not behind a packet that waits', async () => {
    const { connection } = await connected(['websocket']);
    const { conn } = connection.socket;
    const way = DirectSocket.open(conn, shortcuts)!;
    await until(() => way.isOpen, 'nothing waits');
    conn.write('2["counts",[]]');
    expect(way.isOpen).toBe(false);
    await until(() => way.isOpen, 'nothing waits again');
    conn.close();
    expect(way.isOpen).toBe(false);
  });

  it('is not there under long-polling, and after an upgrade is', async () => {
    const { connection } = await connected(['polling', 'websocket']);
    const { conn } = connection.socket;
    expect(DirectSocket.open(conn, shortcuts)).toBeNull();
    await until(() => DirectSocket.open(conn, shortcuts)?.isOpen === true, 'it was upgraded');
  });

  it.each<[string, { transport?: object; webSocket?: object }]>([
    ['no WebSocket', { transport: { socket: undefined } }],
    ['a WebSocket without its TCP socket', { webSocket: { _socket: undefined } }],
    ['a WebSocket over something else', { webSocket: { _socket: { writable: true, writableLength: 0 } } }],
    ['a WebSocket that compresses', { webSocket: { extensions: 'permessage-deflate' } }],
    ['another transport', { transport: { name: 'webtransport' } }],
  ])('is not there with %s', async (_title, { transport, webSocket }) => {
    const { like } = await imitating();
    expect(DirectSocket.open(like(), shortcuts)?.isOpen).toBe(true);
    expect(DirectSocket.open(like(transport, webSocket), shortcuts)).toBeNull();
  });

  it.each<[string, { transport?: object; webSocket?: object }]>([
    ['a WebSocket is closing', { webSocket: { readyState: 2 } }],
    ['a transport is sending', { transport: { writable: false } }],
    ['a transport is closing', { transport: { readyState: 'closing' } }],
  ])('is closed while %s', async (_title, { transport, webSocket }) => {
    const { like } = await imitating();
    expect(DirectSocket.open(like(transport, webSocket), shortcuts)?.isOpen).toBe(false);
  });
});

/** Makes what looks like a connection over which nothing waits, but for some parts of it. */
async function imitating(): Promise<{ like: (transport?: object, webSocket?: object) => GatewaySocket['conn'] }> {
  const { connection } = await connected(['websocket']);
  const { conn } = connection.socket;
  const { extensions, _socket } = findWebSocket(conn.transport)!;
  await until(() => _socket!.writableLength === 0, 'nothing waits');
  return {
    like: (transport = {}, webSocket = {}) => {
      const socket = { readyState: 1, extensions, _socket, ...webSocket };
      const parts = { name: 'websocket', readyState: 'open', writable: true, socket, ...transport };
      return { transport: parts } as unknown as typeof conn;
    },
  };
}

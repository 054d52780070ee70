import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Server } from 'socket.io';
import { io, type Socket } from 'socket.io-client';
import { systemClock } from '../../src/common/clock.js';
import { Frame, EncodedUpdate } from '../../src/fanout/frame.js';
import type { GatewaySocket } from '../../src/gateway/gateway-socket.js';
import { SocketOutput } from '../../src/gateway/socket-output.js';
import { DirectSocket } from '../../src/gateway/transport/direct-socket.js';
import { findWebSocket } from '../../src/gateway/transport/engine-internals.js';
import { FlushQueue } from '../../src/gateway/flush-queue.js';
import type { Shortcuts } from '../../src/gateway/transport/shortcuts.js';
import { provedShortcuts } from '../support/proved-shortcuts.js';
import { Random } from '../support/random.js';
import { unlimitedFlowControl } from '../support/unlimited-flow-control.js';
import { until } from '../support/until.js';

const SEED = Number(process.env['TEST_SEED'] ?? Date.now() % 1_000_000);
const SCALE = Number(process.env['TEST_SCALE'] ?? 1);
const WRITES = 2_000 * SCALE;
/** Over 125 and over 65,535 bytes, because the length of a WebSocket frame has three forms. */
const LENGTHS = [1, 125, 126, 200, 65_535, 65_536, 70_000];

interface Connected {
  readonly socket: GatewaySocket;
  readonly output: SocketOutput;
  readonly client: Socket;
}

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

/** Opens a connection. @returns the server's end of it, and the client's */
async function connected(transports: string[]): Promise<Connected> {
  const http = createServer();
  const server = new Server(http);
  servers.push(server);
  http.listen(0, '127.0.0.1');
  await once(http, 'listening');
  const client = io(`http://127.0.0.1:${(http.address() as AddressInfo).port}`, { transports, reconnection: false });
  clients.push(client);
  const [socket] = (await once(server, 'connection')) as [GatewaySocket];
  const output = new SocketOutput(socket, new FlushQueue(systemClock), systemClock, shortcuts, unlimitedFlowControl());
  return { socket, output, client };
}

/** Collects the numbers of what the client receives, in its order: each acknowledgement, frame and event has a number. */
function received(client: Socket): number[] {
  const numbers: number[] = [];
  client.io.engine.on('message', (message: string) => {
    const number = /^(?:3(\d+)\[|2\["counts",\[(\d+),|2\["mine",\{"post":"(\d+)")/.exec(message);
    if (number !== null) numbers.push(Number(number[1] ?? number[2] ?? number[3]));
  });
  return numbers;
}

describe.each([[['websocket']], [['polling']], [['polling', 'websocket']]])('over %j', (transports) => {
  it(`acknowledgements, frames and socket.io's own events arrive in the order in which they were written (TEST_SEED=${SEED})`, async () => {
    const random = new Random(SEED);
    const { socket, output, client } = await connected(transports);
    const numbers = received(client);
    let direct = 0;
    for (let i = 0; i < WRITES; i++) {
      if (DirectSocket.open(socket.conn, shortcuts)?.isOpen) direct += 1;
      const kind = random.below(8);
      if (kind === 0) socket.emit('mine', { post: String(i), metric: 'likes', on: true });
      else if (kind < 5) output.acknowledge(i, JSON.stringify('x'.repeat(random.pick(LENGTHS.slice(0, 4)))));
      else
        output.write(
          new Frame([
            new EncodedUpdate(String(i)),
            new EncodedUpdate(JSON.stringify('x'.repeat(random.pick(LENGTHS)))),
          ]),
        );
      if (random.below(4) === 0) await new Promise((resolve) => void setImmediate(resolve));
    }
    await until(() => numbers.length === WRITES, 'everything has arrived');
    expect(numbers).toEqual(Array.from({ length: WRITES }, (_, i) => i));
    if (transports.includes('websocket')) expect(direct).toBeGreaterThan(0);
    else expect(direct).toBe(0);
  });
});

describe('the direct socket', () => {
  it('the direct socket is open while no packet waits, and not behind one that waits', async () => {
    const { socket } = await connected(['websocket']);
    const { conn } = socket;
    const direct = DirectSocket.open(conn, shortcuts)!;
    await until(() => direct.isOpen, 'nothing waits');
    conn.write('2["counts",[]]');
    expect(direct.isOpen).toBe(false);
    await until(() => direct.isOpen, 'nothing waits again');
    conn.close();
    expect(direct.isOpen).toBe(false);
  });

  it('long-polling has no direct socket until its upgrade', async () => {
    const { socket } = await connected(['polling', 'websocket']);
    const { conn } = socket;
    expect(DirectSocket.open(conn, shortcuts)).toBeNull();
    await until(() => DirectSocket.open(conn, shortcuts)?.isOpen === true, 'the connection is upgraded');
  });

  it.each<[string, { transport?: object; webSocket?: object }]>([
    ['no WebSocket', { transport: { socket: undefined } }],
    ['a WebSocket without its TCP socket', { webSocket: { _socket: undefined } }],
    ['a WebSocket over something else', { webSocket: { _socket: { writable: true, writableLength: 0 } } }],
    ['a WebSocket that compresses', { webSocket: { extensions: 'permessage-deflate' } }],
    ['another transport', { transport: { name: 'webtransport' } }],
  ])('a connection with %s has no direct socket', async (_title, { transport, webSocket }) => {
    const { like } = await imitating();
    expect(DirectSocket.open(like(), shortcuts)?.isOpen).toBe(true);
    expect(DirectSocket.open(like(transport, webSocket), shortcuts)).toBeNull();
  });

  it.each<[string, { transport?: object; webSocket?: object }]>([
    ['a WebSocket is closing', { webSocket: { readyState: 2 } }],
    ['a transport is sending', { transport: { writable: false } }],
    ['a transport is closing', { transport: { readyState: 'closing' } }],
  ])('the direct socket is closed while %s', async (_title, { transport, webSocket }) => {
    const { like } = await imitating();
    expect(DirectSocket.open(like(transport, webSocket), shortcuts)?.isOpen).toBe(false);
  });
});

/** Returns a function that imitates a connection without waiting packets, with some properties replaced. */
async function imitating(): Promise<{ like: (transport?: object, webSocket?: object) => GatewaySocket['conn'] }> {
  const { socket } = await connected(['websocket']);
  const { conn } = socket;
  const { extensions, _socket } = findWebSocket(conn.transport)!;
  await until(() => _socket!.writableLength === 0, 'nothing waits');
  return {
    like: (transport = {}, webSocket = {}) => {
      const socket = { readyState: 1, extensions, _socket, ...webSocket };
      const parameters = { name: 'websocket', readyState: 'open', writable: true, socket, ...transport };
      return { transport: parameters } as unknown as typeof conn;
    },
  };
}

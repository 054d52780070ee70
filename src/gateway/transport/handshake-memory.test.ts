import { once } from 'node:events';
import { createServer, IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { queryObjects } from 'node:v8';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { Server, type Socket } from 'socket.io';
import type { Socket as ClientSocket } from 'socket.io-client';
import { closeClients, connect, untilConnected } from '../../../test/support/clients.js';
import { until } from '../../../test/support/until.js';
import { HandshakeMemory } from './handshake-memory.js';
import { Shortcut } from './shortcut.js';
import { findWebSocket, type WebSocketInternals } from './engine-internals.js';

const PING_INTERVAL_MS = 50;
const CROWD = 50;
const POLLING = { transports: ['polling'] };
const UPGRADING = { transports: ['polling', 'websocket'] };

const warnings: string[] = [];
const shortcut = new Shortcut('handshake-memory', (message) => warnings.push(message));

const httpServer = createServer();
const server = new Server(httpServer, { pingInterval: PING_INTERVAL_MS });
const disconnected: string[] = [];
let url: string;

beforeAll(async () => {
  shortcut.enable();
  new HandshakeMemory(shortcut).watch(server);
  server.on('connection', (socket) => {
    socket.onAnyOutgoing(() => undefined);
    socket.on('echo', (text: string, answer: (text: string) => void) => answer(text));
    socket.once('disconnect', () => disconnected.push(socket.id));
  });
  httpServer.listen(0, '127.0.0.1');
  await once(httpServer, 'listening');
  url = `http://127.0.0.1:${(httpServer.address() as AddressInfo).port}`;
});

afterAll(async () => {
  await closeClients();
  await server.close();
});

test('a connection releases the memory of its handshake once it is open', async () => {
  const { socket } = await connected();
  await until(() => isReleased(socket), 'the release');
  const { conn } = socket;
  const webSocket = findWebSocket(conn.transport) as WebSocketInternals & NodeJS.EventEmitter;
  expect(socket.handshake.headers).toEqual({});
  expect(conn.transport.listeners('headers')).toEqual([]);
  expect(webSocket.listeners('error')).toHaveLength(1);
  expect(webSocket._socket!.listeners('close').map(({ name }) => name)).toEqual(['socketOnClose']);
  expect([socket.rooms.size, server.of('/').adapter.rooms.has(socket.id)]).toEqual([0, false]);
  for (const emitter of [socket, conn, conn.transport, webSocket] as NodeJS.EventEmitter[]) {
    const listeners = Reflect.get(emitter, '_events') as object;
    expect(Object.getPrototypeOf(listeners)).not.toBe(null);
    expect('constructor' in listeners).toBe(false);
    // Listeners that are to be called once are wrapped elsewhere.
    for (const end of ['close', 'disconnect', 'error']) {
      expect(emitter.rawListeners(end)).toEqual(emitter.listeners(end));
    }
  }
});

test('objects that are released after the handshake are where the shortcut expects them', async () => {
  const { socket } = await connected();
  const { conn } = socket;
  await until(() => isReleased(socket), 'the release');
  const receiver = findWebSocket(conn.transport)!._receiver as unknown as Record<string, unknown>;
  await once(conn as unknown as NodeJS.EventEmitter, 'heartbeat');
  expect(receiver).toMatchObject({ _mask: undefined, _buffers: [] });
  expect(conn).toMatchObject({ sentCallbackFn: expect.any(Array), cleanupFn: [expect.any(Function)] });
  expect(socket).toMatchObject({ _anyOutgoingListeners: [expect.any(Function)], acks: new Map() });
  expect(socket.client).toMatchObject({ decoder: { _callbacks: { $decoded: [expect.any(Function)] } } });
});

test.each([
  ['over WebSocket', {}],
  ['over long-polling', POLLING],
  ['after an upgrade', UPGRADING],
])('events go both ways, pings are answered, and the end of a connection is reported once, %s', async (_, options) => {
  const { client, socket } = await connected(options);
  if (options !== POLLING) await until(() => isReleased(socket), 'the release');
  for (const text of ['one', 'two']) expect(await client.emitWithAck('echo', text)).toBe(text);
  const conn = socket.conn as unknown as NodeJS.EventEmitter;
  for (let pongs = 0; pongs < 3; pongs++) await once(conn, 'heartbeat');
  const received = new Promise((resolve) => client.once('message', resolve));
  socket.emit('message', 'this');
  expect(await received).toBe('this');
  const others = server.engine.clientsCount - 1;
  client.close();
  await until(() => disconnected.includes(socket.id) && socket.conn.readyState === 'closed', 'the end');
  await until(() => server.engine.clientsCount === others, 'that Engine.IO forgets it');
  expect(disconnected.filter((id) => id === socket.id)).toHaveLength(1);
  expect(server.of('/').adapter.sids.has(socket.id)).toBe(false);
});

test('the end of a broken connection is reported once', async () => {
  const { socket } = await connected();
  await until(() => isReleased(socket), 'the release');
  findWebSocket(socket.conn.transport)!._socket!.destroy(new Error('broken'));
  await until(() => disconnected.includes(socket.id), 'the end');
  expect(disconnected.filter((id) => id === socket.id)).toHaveLength(1);
});

test('a connection on long-polling keeps its request', async () => {
  const { client, socket } = await connected(POLLING);
  expect(await client.emitWithAck('echo', 'text')).toBe('text');
  expect(socket.request).toBeInstanceOf(IncomingMessage);
  expect(socket.handshake.headers.host).toBe(new URL(url).host);
});

test('a socket in a room keeps its set of rooms', async () => {
  const { client, socket } = await connected({}, (one) => void one.join('room'));
  await until(() => isReleased(socket), 'the release');
  expect([...socket.rooms]).toEqual([socket.id, 'room']);
  const received = new Promise((resolve) => client.once('message', resolve));
  server.to('room').emit('message', 'all');
  expect(await received).toBe('all');
});

test.each([
  ['acks', new Set()],
  ['_events', undefined],
])('a socket with an unexpected %s throws and keeps working', async (field, value) => {
  const { client, socket } = await connected();
  await until(() => isReleased(socket), 'the release');
  const held: unknown = Reflect.get(socket, field);
  Reflect.set(socket, field, value);
  const memory = new HandshakeMemory(new Shortcut('handshake-memory', () => undefined));
  expect(() => memory.release(socket)).toThrow(field);
  Reflect.set(socket, field, held);
  expect(await client.emitWithAck('echo', 'text')).toBe('text');
});

test('the memory of all handshakes is released without a warning', () => {
  expect(warnings).toEqual([]);
});

test('no request outlives its handshake', async () => {
  const requests = (): number => queryObjects(IncomingMessage, { format: 'count' });
  // The process has run other test files, whose requests may still be held.
  const before = requests();
  const clients = Array.from({ length: CROWD }, () => connect(url));
  await Promise.all(clients.map(untilConnected));
  await until(() => requests() < before + CROWD / 2, 'that the requests are collected');
});

/** @param prepare called as the socket connects, before anything is released */
async function connected(options = {}, prepare: (socket: Socket) => void = () => undefined) {
  const accepted = new Promise<Socket>((resolve) => {
    server.once('connection', (socket) => {
      prepare(socket);
      resolve(socket);
    });
  });
  const client = connect(url, {}, options);
  const [socket] = await Promise.all([accepted, untilConnected(client)]);
  return { client: client as unknown as ClientSocket, socket };
}

function isReleased({ conn }: Socket): boolean {
  return (conn.request as unknown) === null;
}

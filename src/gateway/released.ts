import type { EventEmitter } from 'node:events';
import type { Server, Socket } from 'socket.io';
import { type WebSocket, webSocketOf } from './web-socket.js';

type EngineSocket = Socket['conn'];
type Listener = (...args: unknown[]) => unknown;

/** Shared by all whose handshake is over. */
const NO_HANDSHAKE = Object.freeze({ headers: {}, query: {}, auth: {} }) as unknown as Socket['handshake'];
/** Of clients, who are not asked for any. Their ids would be of the namespace, so that even then they could share it. */
const NO_ACKS = new Map<number, Listener>();
/** Events that come once, or whose second coming finds nothing left to do: how a connection ends. */
const ENDINGS: ReadonlySet<string | symbol> = new Set(['close', 'disconnect', 'error']);
/** Engine.IO's, for what nobody listens to: the end of the response that a WebSocket's request never gets. */
const RESPONSE_CLOSED = '() => this.emit("close")';

/**
 * A connection that watches is idle most of its life, and half of what it costs was needed for its handshake only: the
 * request with its headers, which Engine.IO, Socket.IO and `ws` hold on to in five places, and room that V8 keeps in
 * lists and dictionaries once something was taken out. This gives it back when the WebSocket and its Socket.IO socket
 * stand; a connection on long-polling goes on with requests, and keeps them. docs/benchmarks.md has the bytes.
 *
 * The request goes as https://socket.io/docs/v4/memory-usage/ says. The rest is no part of any interface: each is looked
 * at first, and what is not as expected is left as it is. The tests tell when that happens.
 */
export function releaseAfterHandshake(server: Server): void {
  server.on('connection', (socket) => {
    // NestJS binds its listeners behind this one.
    const soon = (): void => void setImmediate(release, socket);
    if (webSocketOf(socket.conn.transport) === undefined) socket.conn.once('upgrade', soon);
    else soon();
  });
}

function release(socket: Socket): void {
  const { conn } = socket;
  const webSocket = webSocketOf(conn.transport);
  if (conn.readyState !== 'open' || webSocket === undefined) return;
  Reflect.set(conn, 'request', null);
  Reflect.set(socket, 'handshake', NO_HANDSHAKE);
  releaseListeners(conn.transport, webSocket);
  releaseOwnRoom(socket);
  const acks = fieldOf(socket, 'acks');
  if (acks instanceof Map && acks.size === 0) Reflect.set(socket, 'acks', NO_ACKS);
  conn.on('heartbeat', releaseReceived);
  releaseRoom(fieldOf(conn, 'sentCallbackFn'));
  cutToSize(conn, 'cleanupFn');
  cutToSize(socket, '_anyOutgoingListeners');
  cutToSize(fieldOf(fieldOf(socket.client, 'decoder'), '_callbacks'), '$decoded');
  for (const emitter of [socket, conn, conn.transport, webSocket]) compact(emitter);
}

/** Listeners to what can happen during a handshake only. Each holds the request. */
function releaseListeners(transport: EngineSocket['transport'], webSocket: WebSocket): void {
  transport.removeAllListeners('headers');
  remove(webSocket as unknown as EventEmitter, 'error', ({ name }) => name === 'onUpgradeError');
  if (webSocket._socket !== null)
    remove(webSocket._socket, 'close', (listener) => String(listener) === RESPONSE_CLOSED);
}

function remove(emitter: EventEmitter, event: string, unneeded: (listener: Listener) => boolean): void {
  for (const listener of emitter.listeners(event) as Listener[]) {
    if (unneeded(listener)) emitter.removeListener(event, listener);
  }
}

/** A socket is in a room of its own, by which it could be told something. Nobody does, save those who share an actor. */
function releaseOwnRoom({ id, rooms, nsp }: Socket): void {
  if (rooms.size === 1 && rooms.has(id)) nsp.adapter.delAll(id);
}

/**
 * Called as a message has been received whole, the answer to a ping: what it left behind. The mask, a view of what was
 * read from the network, has been used; the next frame brings its own.
 */
function releaseReceived(this: EngineSocket): void {
  releaseRoom(fieldOf(this, 'sentCallbackFn'));
  const receiver = fieldOf(webSocketOf(this.transport), '_receiver');
  releaseRoom(fieldOf(receiver, '_buffers'));
  if (fieldOf(receiver, '_mask') instanceof Buffer) Reflect.set(receiver as object, '_mask', undefined);
}

/** An emptied list has room for 16. */
function releaseRoom(list: unknown): void {
  if (Array.isArray(list) && list.length === 0) list.length = 0;
}

/** A list that something was added to has room for 16 more. */
function cutToSize(holder: unknown, field: string): void {
  const list = fieldOf(holder, field);
  if (Array.isArray(list)) Reflect.set(holder as object, field, [...(list as unknown[])]);
}

/** A dictionary that stays small: V8 lays it out as an object of a class, in a fifth of the space. It inherits nothing. */
class Listeners {
  [event: string | symbol]: Listener | Listener[];
}
Object.setPrototypeOf(Listeners.prototype, null);
Reflect.deleteProperty(Listeners.prototype, 'constructor');

/** Lays an emitter's listeners out anew. Those of endings that were to be called once need not be taken out first. */
function compact(emitter: object): void {
  const before = fieldOf(emitter, '_events');
  if (typeof before !== 'object' || before === null || Object.getPrototypeOf(before) !== null) return;
  const listeners = new Listeners();
  for (const event of Reflect.ownKeys(before)) {
    const held = Reflect.get(before, event) as Listener | Listener[];
    const kept = ENDINGS.has(event) ? unwrapped : (listener: Listener) => listener;
    listeners[event] = Array.isArray(held) ? held.map(kept) : kept(held);
  }
  Reflect.set(emitter, '_events', listeners);
}

/** Node wraps what is to be called once: https://nodejs.org/api/events.html#emitterrawlistenerseventname */
function unwrapped(listener: Listener): Listener {
  return (listener as Listener & { readonly listener?: Listener }).listener ?? listener;
}

/** `undefined` also where there is no such object. */
function fieldOf(holder: unknown, field: string): unknown {
  return typeof holder === 'object' && holder !== null ? Reflect.get(holder, field) : undefined;
}

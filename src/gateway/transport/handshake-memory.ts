import type { EventEmitter } from 'node:events';
import type { Server, Socket } from 'socket.io';
import { type EngineSocket, type EngineTransport, findWebSocket, type WebSocketInternals } from './engine-internals.js';
import type { Shortcut } from './shortcut.js';

type Listener = (...args: unknown[]) => unknown;

/** Shared by all whose handshake is over. */
const NO_HANDSHAKE = Object.freeze({ headers: {}, query: {}, auth: {} }) as unknown as Socket['handshake'];
/** Shared by all clients, because they are never asked for an acknowledgement. */
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
 * at first, and when one is not as expected nothing more is given back, by any connection.
 */
export class HandshakeMemory {
  /** One for all connections. */
  readonly #releaseReceived: (this: EngineSocket) => void;

  constructor(private readonly shortcut: Shortcut) {
    this.#releaseReceived = function (this: EngineSocket): void {
      if (!shortcut.isOn || this.readyState !== 'open') return;
      try {
        releaseReceived(this);
      } catch (error) {
        shortcut.disable(error);
      }
    };
  }

  /** Gives back what each connection of the server has needed, once it has come about. */
  watch(server: Server): void {
    server.on('connection', (socket) => {
      // NestJS binds its listeners behind this one.
      const soon = (): void => void setImmediate(this.#releaseIfOpen, socket);
      if (socket.conn.transport.name === 'websocket') soon();
      else socket.conn.once('upgrade', soon);
    });
  }

  /** @throws Error when something is not as expected; the connection works on */
  release(socket: Socket): void {
    const { conn } = socket;
    const webSocket = findWebSocket(conn.transport);
    if (webSocket === undefined) throw new Error('the transport has no socket of ws');
    replace(conn, 'request', null);
    replace(socket, 'handshake', NO_HANDSHAKE);
    releaseListeners(conn.transport, webSocket);
    releaseOwnRoom(socket);
    if (fieldOf(socket, 'acks', Map).size === 0) replace(socket, 'acks', NO_ACKS);
    conn.on('heartbeat', this.#releaseReceived);
    releaseRoom(fieldOf(conn, 'sentCallbackFn', Array));
    cutToSize(conn, 'cleanupFn');
    if (socket.listenersAnyOutgoing().length > 0) cutToSize(socket, '_anyOutgoingListeners');
    cutToSize(objectIn(objectIn(socket.client, 'decoder'), '_callbacks'), '$decoded');
    for (const emitter of [socket, conn, conn.transport, webSocket]) compact(emitter);
  }

  readonly #releaseIfOpen = (socket: Socket): void => {
    if (!this.shortcut.isOn || socket.conn.readyState !== 'open') return;
    try {
      this.release(socket);
    } catch (error) {
      this.shortcut.disable(error);
    }
  };
}

/** Listeners to what can happen during a handshake only. Each holds the request. */
function releaseListeners(transport: EngineTransport, webSocket: WebSocketInternals): void {
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
function releaseReceived(connection: EngineSocket): void {
  releaseRoom(fieldOf(connection, 'sentCallbackFn', Array));
  const webSocket = findWebSocket(connection.transport);
  if (webSocket === undefined) throw new Error('the transport has no socket of ws');
  const receiver = objectIn(webSocket, '_receiver');
  releaseRoom(fieldOf(receiver, '_buffers', Array));
  if (Reflect.get(receiver, '_mask') === undefined) return;
  fieldOf(receiver, '_mask', Buffer);
  replace(receiver, '_mask', undefined);
}

/** An emptied list has room for 16. */
function releaseRoom(list: unknown[]): void {
  if (list.length === 0) list.length = 0;
}

/** A list that something was added to has room for 16 more. */
function cutToSize(holder: object, field: string): void {
  replace(holder, field, [...fieldOf<unknown[]>(holder, field, Array)]);
}

/** A dictionary that stays small: V8 lays it out as an object of a class, in a fifth of the space. It inherits nothing. */
class Listeners {
  [event: string | symbol]: Listener | Listener[];
}
Object.setPrototypeOf(Listeners.prototype, null);
Reflect.deleteProperty(Listeners.prototype, 'constructor');

/** Lays an emitter's listeners out again. Those of endings that were to be called once need not be taken out first. */
function compact(emitter: object): void {
  const before = Reflect.get(emitter, '_events') as unknown;
  if (typeof before !== 'object' || before === null || Object.getPrototypeOf(before) !== null) {
    throw new Error('an emitter has no _events');
  }
  const listeners = new Listeners();
  for (const event of Reflect.ownKeys(before)) {
    const held = Reflect.get(before, event) as Listener | Listener[];
    const kept = ENDINGS.has(event) ? unwrapped : (listener: Listener) => listener;
    listeners[event] = Array.isArray(held) ? held.map(kept) : kept(held);
  }
  replace(emitter, '_events', listeners);
}

/** Node wraps what is to be called once: https://nodejs.org/api/events.html#emitterrawlistenerseventname */
function unwrapped(listener: Listener): Listener {
  return (listener as Listener & { readonly listener?: Listener }).listener ?? listener;
}

/** @throws Error when there is no such field, or it holds no object */
function objectIn(holder: object, field: string): object {
  const value: unknown = Reflect.get(holder, field);
  if (typeof value === 'object' && value !== null) return value;
  throw new Error(`${holder.constructor.name} has no ${field}`);
}

/** @throws Error when there is no such field, or it holds something else */
function fieldOf<T extends object>(holder: object, field: string, Type: abstract new (...args: never[]) => T): T {
  const value: unknown = Reflect.get(holder, field);
  if (value instanceof Type) return value;
  throw new Error(`${holder.constructor.name} has no ${field}`);
}

function replace(holder: object, field: string, value: unknown): void {
  if (!Reflect.has(holder, field)) throw new Error(`${holder.constructor.name} has no ${field}`);
  Reflect.set(holder, field, value);
}

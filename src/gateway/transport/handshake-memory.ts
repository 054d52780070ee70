import type { EventEmitter } from 'node:events';
import type { Server, Socket } from 'socket.io';
import { type EngineSocket, type EngineTransport, findWebSocket, type WebSocketInternals } from './engine-internals.js';
import type { Shortcut } from './shortcut.js';

type Listener = (...args: unknown[]) => unknown;

/** Shared by all connections after their handshake. */
const NO_HANDSHAKE = Object.freeze({ headers: {}, query: {}, auth: {} }) as unknown as Socket['handshake'];
/** Shared by all connections, because no acknowledgement is ever requested from a client. */
const NO_ACKS = new Map<number, Listener>();
/** Events at the end of a connection. They occur once, or find nothing left to do the second time. */
const ENDINGS: ReadonlySet<string | symbol> = new Set(['close', 'disconnect', 'error']);
/** Engine.IO's listener for the end of a response, which the request of a WebSocket never gets. */
const RESPONSE_CLOSED = '() => this.emit("close")';

/**
 * Releases memory that only a handshake needs: half of the memory of a connection, which is idle most of the time. Engine.IO,
 * Socket.IO and `ws` keep the request with its headers in five places, and V8 keeps the capacity of lists and dictionaries
 * after elements were removed. It is released once the WebSocket and its Socket.IO socket are open; a connection on
 * long-polling keeps it for further requests. docs/benchmarks.md has the bytes.
 *
 * The request is released as https://socket.io/docs/v4/memory-usage/ documents. The rest belongs to no public interface: each
 * internal is checked first, and if one is not as expected, no connection releases memory any more.
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

  /** Releases the memory of each connection of the server once its handshake is done. */
  watch(server: Server): void {
    server.on('connection', (socket) => {
      // NestJS binds its listeners behind this one.
      const soon = (): void => void setImmediate(this.#releaseIfOpen, socket);
      if (socket.conn.transport.name === 'websocket') soon();
      else socket.conn.once('upgrade', soon);
    });
  }

  /** @throws Error if an internal is not as expected; the connection still works */
  release(socket: Socket): void {
    const { conn } = socket;
    const webSocket = findWebSocket(conn.transport);
    if (webSocket === undefined) throw new Error('the transport has no socket of ws');
    replace(conn, 'request', null);
    replace(socket, 'handshake', NO_HANDSHAKE);
    releaseListeners(conn.transport, webSocket);
    releaseOwnRoom(socket);
    if (readField(socket, 'acks', Map).size === 0) replace(socket, 'acks', NO_ACKS);
    conn.on('heartbeat', this.#releaseReceived);
    releaseCapacity(readField(conn, 'sentCallbackFn', Array));
    shrink(conn, 'cleanupFn');
    if (socket.listenersAnyOutgoing().length > 0) shrink(socket, '_anyOutgoingListeners');
    shrink(readObject(readObject(socket.client, 'decoder'), '_callbacks'), '$decoded');
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

/** Removes listeners for events that occur only during a handshake. Each keeps the request in memory. */
function releaseListeners(transport: EngineTransport, webSocket: WebSocketInternals): void {
  transport.removeAllListeners('headers');
  remove(webSocket as unknown as EventEmitter, 'error', ({ name }) => name === 'onUpgradeError');
  if (webSocket._socket !== null)
    remove(webSocket._socket, 'close', (listener) => String(listener) === RESPONSE_CLOSED);
}

function remove(emitter: EventEmitter, event: string, isUnneeded: (listener: Listener) => boolean): void {
  for (const listener of emitter.listeners(event) as Listener[]) {
    if (isUnneeded(listener)) emitter.removeListener(event, listener);
  }
}

/** Removes a socket from its own room, which nothing emits to. Sockets in an actor's room are left as they are. */
function releaseOwnRoom({ id, rooms, nsp }: Socket): void {
  if (rooms.size === 1 && rooms.has(id)) nsp.adapter.delAll(id);
}

/**
 * Releases memory of a completely received message, the answer to a ping. The mask, a view of the bytes read from the
 * network, is not needed any more; the next frame has its own.
 */
function releaseReceived(connection: EngineSocket): void {
  releaseCapacity(readField(connection, 'sentCallbackFn', Array));
  const webSocket = findWebSocket(connection.transport);
  if (webSocket === undefined) throw new Error('the transport has no socket of ws');
  const receiver = readObject(webSocket, '_receiver');
  releaseCapacity(readField(receiver, '_buffers', Array));
  if (Reflect.get(receiver, '_mask') === undefined) return;
  readField(receiver, '_mask', Buffer);
  replace(receiver, '_mask', undefined);
}

/** An emptied list has capacity for 16 elements. */
function releaseCapacity(list: unknown[]): void {
  if (list.length === 0) list.length = 0;
}

/** A list that grew has capacity for 16 more elements. */
function shrink(holder: object, field: string): void {
  replace(holder, field, [...readField<unknown[]>(holder, field, Array)]);
}

/** A dictionary that stays small: V8 lays it out as an object of a class, in a fifth of the space. It inherits nothing. */
class Listeners {
  [event: string | symbol]: Listener | Listener[];
}
Object.setPrototypeOf(Listeners.prototype, null);
Reflect.deleteProperty(Listeners.prototype, 'constructor');

/** Stores an emitter's listeners compactly. Listeners for endings that were added with `once` lose their wrapper. */
function compact(emitter: object): void {
  const before = Reflect.get(emitter, '_events') as unknown;
  if (typeof before !== 'object' || before === null || Object.getPrototypeOf(before) !== null) {
    throw new Error('an emitter has no _events');
  }
  const listeners = new Listeners();
  for (const event of Reflect.ownKeys(before)) {
    const held = Reflect.get(before, event) as Listener | Listener[];
    const kept = ENDINGS.has(event) ? unwrap : (listener: Listener) => listener;
    listeners[event] = Array.isArray(held) ? held.map(kept) : kept(held);
  }
  replace(emitter, '_events', listeners);
}

/** Node wraps listeners that were added with `once`: https://nodejs.org/api/events.html#emitterrawlistenerseventname */
function unwrap(listener: Listener): Listener {
  return (listener as Listener & { readonly listener?: Listener }).listener ?? listener;
}

/** @throws Error if the field is missing, or not an object */
function readObject(holder: object, field: string): object {
  const value: unknown = Reflect.get(holder, field);
  if (typeof value === 'object' && value !== null) return value;
  throw new Error(`${holder.constructor.name} has no ${field}`);
}

/** @throws Error if the field is missing, or of another type */
function readField<T extends object>(holder: object, field: string, Type: abstract new (...args: never[]) => T): T {
  const value: unknown = Reflect.get(holder, field);
  if (value instanceof Type) return value;
  throw new Error(`${holder.constructor.name} has no ${field}`);
}

function replace(holder: object, field: string, value: unknown): void {
  if (!Reflect.has(holder, field)) throw new Error(`${holder.constructor.name} has no ${field}`);
  Reflect.set(holder, field, value);
}

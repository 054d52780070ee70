import type { IncomingMessage } from 'node:http';
import type { Socket as TcpSocket } from 'node:net';
import type { Server, Socket } from 'socket.io';

/**
 * Internals of Engine.IO, `ws` and Node that their own types leave out. Code that reads one checks it first, and disables
 * its shortcut if the internal is not as declared here.
 */

export type Engine = Server['engine'];
/** Engine.IO's side of a connection. */
export type EngineSocket = Socket['conn'];
export type EngineTransport = EngineSocket['transport'];

/** Declared by Engine.IO with other types, or as private. */
export interface TransportInternals {
  readonly name: string;
  readonly readyState: string;
  readonly writable: boolean;
  /** Present in the transport for WebSockets alone. */
  readonly socket?: WebSocketInternals;
}

/** A WebSocket of `ws`. */
export interface WebSocketInternals {
  readonly readyState: number;
  readonly extensions: string;
  readonly _socket: TcpSocket | null;
  readonly _receiver?: WebSocketReceiver;
  terminate(): void;
}

/** The parser of `ws`. */
export interface WebSocketReceiver {
  readonly _state: number;
  readonly _bufferedBytes: number;
  readonly _fragmented: number;
}

/** The handle that Node's C++ side gives a TCP socket: https://github.com/nodejs/node/blob/v24.x/src/stream_base.cc */
export interface TcpHandle {
  writeBuffer(request: WriteRequest | null, bytes: Uint8Array): number | WriteRequest;
  /** @returns 0, or a negative error number */
  readStop?(): number;
  readStart?(): number;
}

/** A write of libuv that is not complete yet. */
export interface WriteRequest {
  /** -1 before its write, after a write that was complete at once, and when `oncomplete` was called. */
  getAsyncId(): number;
  oncomplete?: (status: number) => void;
  /** Keeps the bytes from being collected while they wait. */
  buffer?: Uint8Array;
  /** Since Node 24: the status of a write that was complete before `oncomplete` could be set, else `null`. */
  readonly writeStatus?: number | null;
}

/** `readyState` of an open WebSocket. */
export const WEB_SOCKET_OPEN = 1;

/** @returns `undefined` under long-polling, and if Engine.IO keeps the WebSocket elsewhere */
export function findWebSocket(transport: EngineTransport): WebSocketInternals | undefined {
  try {
    return (transport as unknown as TransportInternals).socket;
  } catch {
    return undefined;
  }
}

/** @returns `null` while no ping is unanswered */
export function readPingTimer(connection: EngineSocket): NodeJS.Timeout | null | undefined {
  return (connection as unknown as { readonly pingTimeoutTimer?: NodeJS.Timeout | null }).pingTimeoutTimer;
}

export function readTcpHandle(tcp: TcpSocket): TcpHandle | null | undefined {
  return (tcp as unknown as { readonly _handle?: TcpHandle | null })._handle;
}

/** @returns the id that later requests name as `sid`. Engine.IO documents it. */
export function readId(connection: EngineSocket): string {
  return (connection as unknown as { readonly id: string }).id;
}

/** @returns the connection that the request names, if there is one */
export function findConnection(engine: Engine, request: IncomingMessage): EngineSocket | undefined {
  const { searchParams } = new URL(request.url ?? '', 'http://gateway');
  // If there are several, the last one counts, as for Engine.IO.
  const sid = searchParams.getAll('sid').at(-1);
  const { clients } = engine as unknown as { readonly clients: Readonly<Record<string, EngineSocket>> };
  return sid !== undefined && Object.hasOwn(clients, sid) ? clients[sid] : undefined;
}

type Middleware = Parameters<Engine['use']>[0];

/** Adds a middleware before all others, if Engine.IO keeps them in a list. */
export function prependMiddleware(engine: Engine, middleware: Middleware): void {
  const { middlewares } = engine as unknown as { readonly middlewares?: unknown };
  if (Array.isArray(middlewares)) middlewares.unshift(middleware);
}

/**
 * Ends the connection at once, and drops what is buffered for it. If it were only closed, a WebSocket would wait half a
 * minute for a client that reads nothing, and long-polling for one that does not poll.
 */
export function terminateConnection(connection: EngineSocket): void {
  connection.close(true);
  const { transport } = connection;
  findWebSocket(transport)?.terminate();
  // Long-polling that is already closing does not close again. This is the callback that its timeout would call.
  const { shouldClose } = transport as { readonly shouldClose?: unknown };
  if (connection.readyState !== 'closed' && typeof shouldClose === 'function') shouldClose.call(transport);
}

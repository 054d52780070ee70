import type { Socket as TcpSocket } from 'node:net';
import type { Socket } from 'socket.io';

type EngineSocket = Socket['conn'];

/** The parts of Engine.IO's socket and of `ws` that are used here. They keep them private in their types. */
interface Internals {
  readonly readyState: string;
  readonly writeBuffer: readonly unknown[];
  readonly transport: { readonly name: string; readonly writable: boolean; readonly socket?: WebSocket };
}
export interface WebSocket {
  readonly readyState: number;
  readonly extensions: string;
  readonly _socket: TcpSocket | null;
  on(event: 'ping', listener: (data: Buffer) => void): void;
  pong(data: Buffer, mask: boolean, sent: () => void): void;
  terminate(): void;
}

const OPEN = 1;
/** RFC 6455, section 5.2: a final text frame. What a server sends is not masked. */
const TEXT = 0x81;
const LENGTH_16 = 126;
const LENGTH_64 = 127;

/** None under long-polling. */
export function webSocketOf(transport: EngineSocket['transport']): WebSocket | undefined {
  return (transport as unknown as Internals['transport']).socket;
}

/**
 * The TCP socket of a WebSocket connection on which nothing waits: what is written to it now comes behind all that was
 * sent before, also by socket.io. `null` wherever that is not sure: long-polling, an upgrade, a slow reader, a packet that
 * socket.io has not handed over yet, extensions, other internals than expected. Then Engine.IO's own `write` is the way.
 * Going past it saves a third of the cost of a frame (docs/benchmarks.md): its queue, its callbacks, a second buffer.
 */
export function directSocket(connection: EngineSocket): TcpSocket | null {
  const { readyState, writeBuffer, transport } = connection as unknown as Internals;
  if (readyState !== 'open' || writeBuffer.length > 0 || !transport.writable || transport.name !== 'websocket')
    return null;
  const { socket } = transport;
  if (socket?.readyState !== OPEN || socket.extensions !== '') return null;
  const tcp = socket._socket;
  return tcp?.writable === true && tcp.writableLength === 0 ? tcp : null;
}

/** Packets that Engine.IO holds for the client. */
export function unsentPackets(connection: EngineSocket): readonly unknown[] {
  return (connection as unknown as Internals).writeBuffer;
}

/** The head of a WebSocket frame with so many bytes of text, in Latin-1. */
export function frameHead(length: number): string {
  if (length < LENGTH_16) return String.fromCharCode(TEXT, length);
  if (length < 2 ** 16) return String.fromCharCode(TEXT, LENGTH_16, length >>> 8, length & 0xff);
  const bytes = [24, 16, 8, 0].map((shift) => (length >>> shift) & 0xff);
  return String.fromCharCode(TEXT, LENGTH_64, 0, 0, 0, 0, ...bytes);
}

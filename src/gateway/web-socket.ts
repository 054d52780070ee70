import { Socket as TcpSocket } from 'node:net';
import type { Socket } from 'socket.io';
import { HandleWriter } from './handle-writer.js';

type EngineSocket = Socket['conn'];

/** The parts of Engine.IO's transport and of `ws` that are used here. They keep them private in their types. */
interface Transport {
  readonly name: string;
  readonly readyState: string;
  readonly writable: boolean;
  readonly socket?: WebSocket;
}
export interface WebSocket {
  readonly readyState: number;
  readonly extensions: string;
  readonly _socket: TcpSocket | null;
  on(event: 'ping', listener: (data: Buffer) => void): void;
  pong(data: Buffer, mask: boolean, sent: () => void): void;
  terminate(): void;
}

/** What Node reads a TCP socket by, once it is open: https://github.com/nodejs/node/blob/v20.x/src/stream_base.cc */
interface Handle {
  /** @returns 0, or a negative error number */
  readStop?(): number;
  readStart?(): number;
}

const OPEN = 1;

/** None under long-polling. */
export function webSocketOf(transport: EngineSocket['transport']): WebSocket | undefined {
  return (transport as unknown as Transport).socket;
}

/**
 * The way past socket.io to a connection's TCP socket: for a frame a third of the cost (docs/benchmarks.md), since it
 * saves its queue, its callbacks and a second buffer. It looks at as few objects as it can, for with many connections
 * none of them is in the processor's cache.
 */
export class DirectWay {
  /** @returns `null` where there is none: long-polling, extensions such as compression, other internals than expected. */
  static of(connection: EngineSocket): DirectWay | null {
    const transport = connection.transport as unknown as Transport;
    const { name, socket } = transport;
    if (name !== 'websocket' || socket?.extensions !== '' || !(socket._socket instanceof TcpSocket)) return null;
    return new DirectWay(transport, socket, socket._socket, HandleWriter.of(socket._socket));
  }

  private constructor(
    private readonly transport: Transport,
    private readonly socket: WebSocket,
    private readonly tcp: TcpSocket,
    private readonly writer: HandleWriter | null,
  ) {}

  /**
   * Whether what is written now comes behind all that was sent before, also by socket.io. Else Engine.IO's own `write` is
   * the way: a packet that it has not handed over yet, an end that has begun, a reader that is behind.
   */
  get isOpen(): boolean {
    const { transport, tcp } = this;
    return (
      transport.writable &&
      transport.readyState === 'open' &&
      this.socket.readyState === OPEN &&
      tcp.writableLength === 0 &&
      tcp.writable &&
      this.writer?.waits !== true
    );
  }

  /** Whether the system has not taken all yet. */
  get waits(): boolean {
    return this.tcp.writableLength > 0 || this.writer?.waits === true;
  }

  /** Stops reading at once, unknown to the stream, which would read 64 KiB more and keep them. @returns whether it did */
  pause(): boolean {
    return handleOf(this.tcp)?.readStop?.() === 0;
  }

  resume(): void {
    handleOf(this.tcp)?.readStart?.();
  }

  /** To be called only while it is open. */
  write(frames: Uint8Array): void {
    if (this.writer !== null) this.writer.write(frames);
    else this.tcp.write(frames);
  }
}

function handleOf(tcp: TcpSocket): Handle | null {
  return (tcp as unknown as { readonly _handle: Handle | null })._handle;
}

/** Packets that Engine.IO holds for the client. */
export function unsentPackets(connection: EngineSocket): readonly unknown[] {
  return (connection as unknown as { readonly writeBuffer: readonly unknown[] }).writeBuffer;
}

/** If the client has to answer a ping, it has all its time for that again. Engine.IO does so once a ping, for the same reason. */
export function restartPing(connection: EngineSocket): void {
  const { pingTimeoutTimer: timer } = connection as unknown as { readonly pingTimeoutTimer?: NodeJS.Timeout | null };
  if (connection.readyState === 'open') timer?.refresh();
}

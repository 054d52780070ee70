import { Socket as TcpSocket } from 'node:net';
import type { Socket } from 'socket.io';
import type { LibuvWriter } from './libuv-writer.js';
import type { Shortcut } from './shortcut.js';
import type { Shortcuts } from './shortcuts.js';

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
  terminate(): void;
}

/** The part of a TCP socket's handle that starts and stops reading: https://github.com/nodejs/node/blob/v24.x/src/stream_base.cc */
interface ReadHandle {
  /** @returns 0, or a negative error number */
  readStop?(): number;
  readStart?(): number;
}

const OPEN = 1;

/** `undefined` under long-polling, and where Engine.IO keeps it elsewhere. */
export function findWebSocket(transport: EngineSocket['transport']): WebSocket | undefined {
  try {
    return (transport as unknown as Transport).socket;
  } catch {
    return undefined;
  }
}

/**
 * Ends the connection at once, and what is buffered for it. If it were only closed, a WebSocket would wait half a minute for
 * a client that reads nothing, and long-polling for one that does not poll.
 */
export function terminateConnection(connection: EngineSocket): void {
  connection.close(true);
  const { transport } = connection;
  findWebSocket(transport)?.terminate();
  // Long-polling that is closing already does not close again; it has the end of its wait here.
  const { shouldClose } = transport as { readonly shouldClose?: unknown };
  if (connection.readyState !== 'closed' && typeof shouldClose === 'function') shouldClose.call(transport);
}

/**
 * The way past socket.io to a connection's TCP socket: for a frame a third of the cost (docs/benchmarks.md), because it
 * saves its queue, its callbacks and a second buffer. It looks at as few objects as it can: with many connections none of
 * them is in the processor's cache.
 */
export class DirectSocket {
  /** @returns `null` where there is none: long-polling, extensions such as compression, other internals than expected. */
  static open(connection: EngineSocket, shortcuts: Shortcuts): DirectSocket | null {
    if (!shortcuts.directWrite.isOn) return null;
    try {
      const transport = connection.transport as unknown as Transport;
      const { name, socket } = transport;
      if (name !== 'websocket' || socket?.extensions !== '') return expectPolling(name, socket, shortcuts.directWrite);
      const { _socket: tcp } = socket;
      if (tcp === null) return null;
      if (!(tcp instanceof TcpSocket)) throw new Error('ws has no _socket');
      const { libuvWrite } = shortcuts;
      return new DirectSocket(connection, transport, socket, tcp, libuvWrite.open(tcp), shortcuts);
    } catch (error) {
      shortcuts.directWrite.disable(error);
      return null;
    }
  }

  private constructor(
    private readonly connection: EngineSocket,
    private readonly transport: Transport,
    private readonly socket: WebSocket,
    private readonly tcp: TcpSocket,
    private readonly writer: LibuvWriter | null,
    private readonly shortcuts: Shortcuts,
  ) {}

  /**
   * Whether what is written now comes behind all that was sent before, also by socket.io. Else Engine.IO's own `write` is
   * the way: a packet that it has not handed over yet, an end that has begun, a reader that is behind. Never throws.
   */
  get isOpen(): boolean {
    const { directWrite } = this.shortcuts;
    if (!directWrite.isOn) return false;
    try {
      const { transport, socket, tcp } = this;
      const { writable, readyState } = transport;
      if (!writable || readyState !== 'open') {
        if (typeof writable !== 'boolean' || typeof readyState !== 'string')
          throw new Error('a transport has no state');
        return false;
      }
      return socket.readyState === OPEN && tcp.writableLength === 0 && tcp.writable && this.writer?.hasUnsent !== true;
    } catch (error) {
      directWrite.disable(error);
      return false;
    }
  }

  /** Whether the system has not taken all yet. */
  get hasUnsent(): boolean {
    return this.tcp.writableLength > 0 || this.writer?.hasUnsent === true;
  }

  /** Stops reading at once, unknown to the stream, which would read 64 KiB more and keep them. @returns whether it did */
  pauseReading(): boolean {
    const { readPause } = this.shortcuts;
    if (!readPause.isOn || this.connection.readyState !== 'open' || this.tcp.destroyed) return false;
    try {
      // A client that is not read must not be taken for one that is gone.
      if (typeof pingTimerOf(this.connection) !== 'object') throw new Error('Engine.IO has no pingTimeoutTimer');
      const status = readHandleOf(this.tcp)?.readStop?.();
      if (typeof status !== 'number') throw new Error('the handle has no readStop');
      return status === 0;
    } catch (error) {
      readPause.disable(error);
      return false;
    }
  }

  /** Reads again after `pauseReading`. A connection that cannot be read again is closed. */
  resumeReading(): void {
    if (this.tcp.destroyed) return;
    try {
      const status = readHandleOf(this.tcp)?.readStart?.();
      if (typeof status !== 'number') throw new Error('the handle has no readStart');
    } catch (error) {
      this.shortcuts.readPause.disable(error);
      this.tcp.destroy();
    }
  }

  /** Gives the client all its time for a ping again. Engine.IO does so once a ping, for the same reason. */
  restartPingTimeout(): void {
    try {
      if (this.connection.readyState === 'open') pingTimerOf(this.connection)?.refresh();
    } catch (error) {
      this.shortcuts.readPause.disable(error);
    }
  }

  /** To be called only while it is open. */
  write(frames: Uint8Array): void {
    if (this.writer !== null && this.shortcuts.libuvWrite.isOn) this.writer.write(frames);
    else this.tcp.write(frames);
  }
}

/** Under WebSocket there has to be a socket of `ws`; that it compresses is nothing unexpected. */
function expectPolling(name: unknown, socket: WebSocket | undefined, shortcut: Shortcut): null {
  if (typeof name !== 'string' || (name === 'websocket' && typeof socket?.extensions !== 'string')) {
    shortcut.disable('a transport has no socket of ws');
  }
  return null;
}

function readHandleOf(tcp: TcpSocket): ReadHandle | null | undefined {
  return (tcp as unknown as { readonly _handle?: ReadHandle | null })._handle;
}

/** `null` while no ping is unanswered. */
function pingTimerOf(connection: EngineSocket): NodeJS.Timeout | null | undefined {
  return (connection as unknown as { readonly pingTimeoutTimer?: NodeJS.Timeout | null }).pingTimeoutTimer;
}

/** Packets that Engine.IO holds for the client; `null` where it keeps them elsewhere than expected. */
export function readUnsentPackets(connection: EngineSocket, shortcut: Shortcut): readonly unknown[] | null {
  if (!shortcut.isOn) return null;
  try {
    const { writeBuffer } = connection as unknown as { readonly writeBuffer?: unknown };
    if (!Array.isArray(writeBuffer)) throw new Error("Engine.IO's socket has no writeBuffer");
    return writeBuffer as unknown[];
  } catch (error) {
    shortcut.disable(error);
    return null;
  }
}

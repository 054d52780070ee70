import { Socket as TcpSocket } from 'node:net';
import {
  type EngineSocket,
  readPingTimer,
  readTcpHandle,
  type TransportInternals,
  WEB_SOCKET_OPEN,
  type WebSocketInternals,
} from './engine-internals.js';
import type { LibuvWriter } from './libuv-writer.js';
import type { Shortcut } from './shortcut.js';
import type { Shortcuts } from './shortcuts.js';

/**
 * Writes to a connection's TCP socket past socket.io. A frame costs a third (docs/benchmarks.md), because there is no
 * queue, no callback and no second buffer. It reads as few objects as it can: with many connections none of them is in the
 * processor's cache.
 */
export class DirectSocket {
  /** @returns `null` under long-polling, with extensions such as compression, or if an internal is not as expected */
  static open(connection: EngineSocket, shortcuts: Shortcuts): DirectSocket | null {
    if (!shortcuts.directWrite.isOn) return null;
    try {
      const transport = connection.transport as unknown as TransportInternals;
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
    private readonly transport: TransportInternals,
    private readonly socket: WebSocketInternals,
    private readonly tcp: TcpSocket,
    private readonly writer: LibuvWriter | null,
    private readonly shortcuts: Shortcuts,
  ) {}

  /**
   * Whether bytes written now follow all that was sent before, also by socket.io. Otherwise packets have to go through
   * Engine.IO: it has a packet that it has not passed on, the connection is closing, or the client reads slowly. Never throws.
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
      if (socket.readyState !== WEB_SOCKET_OPEN) return false;
      return tcp.writableLength === 0 && tcp.writable && this.writer?.hasUnsent !== true;
    } catch (error) {
      directWrite.disable(error);
      return false;
    }
  }

  /** Whether some bytes wait for the operating system. */
  get hasUnsent(): boolean {
    return this.tcp.writableLength > 0 || this.writer?.hasUnsent === true;
  }

  /** Stops reading at once, below the stream, which would read 64 KiB more and keep them. @returns whether reading stopped */
  pauseReading(): boolean {
    const { readPause } = this.shortcuts;
    if (!readPause.isOn || this.connection.readyState !== 'open' || this.tcp.destroyed) return false;
    try {
      // Without the timer, Engine.IO would take a client that is not read for one that is down.
      if (typeof readPingTimer(this.connection) !== 'object') throw new Error('Engine.IO has no pingTimeoutTimer');
      const status = readTcpHandle(this.tcp)?.readStop?.();
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
      const status = readTcpHandle(this.tcp)?.readStart?.();
      if (typeof status !== 'number') throw new Error('the handle has no readStart');
    } catch (error) {
      this.shortcuts.readPause.disable(error);
      this.tcp.destroy();
    }
  }

  /** Gives the client the full time to answer a ping again, as Engine.IO does with each ping. */
  restartPingTimeout(): void {
    try {
      if (this.connection.readyState === 'open') readPingTimer(this.connection)?.refresh();
    } catch (error) {
      this.shortcuts.readPause.disable(error);
    }
  }

  /** To be called only while `isOpen`. */
  write(frames: Uint8Array): void {
    if (this.writer !== null && this.shortcuts.libuvWrite.isOn) this.writer.write(frames);
    else this.tcp.write(frames);
  }
}

/** A transport named `websocket` must have a socket of `ws`. That the socket compresses is not unexpected. */
function expectPolling(name: unknown, socket: WebSocketInternals | undefined, shortcut: Shortcut): null {
  if (typeof name !== 'string' || (name === 'websocket' && typeof socket?.extensions !== 'string')) {
    shortcut.disable('a transport has no socket of ws');
  }
  return null;
}

/** @returns packets that Engine.IO keeps for the client; `null` if it keeps them elsewhere */
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

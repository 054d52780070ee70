import type { Writable } from '../common/ascii-writer.js';
import type { Clock } from '../common/clock.js';
import type { Frame } from '../fanout/frame.js';
import type { EncodedMilestone, FrameSink } from '../fanout/viewer.js';
import type { ErrorBody } from '../protocol/errors.js';
import type { FlushQueue } from './flush-queue.js';
import type { GatewaySocket } from './gateway-socket.js';
import type { FlowControl } from './connection-flow-control.js';
import { DirectSocket } from './transport/direct-socket.js';
import { terminateConnection } from './transport/engine-internals.js';
import type { Shortcuts } from './transport/shortcuts.js';
import { CLOSE_TIMEOUT_MS } from './transport/bounded-websocket-server.js';
import { WsFrameWriter } from './transport/ws-frame-writer.js';
import { UNREAD_MAX, UnreadAcks } from './unread-acks.js';

/** How long a slow client has to read why it is disconnected. */
const DISCONNECT_MS = 1_000;
const SLOW_RETRY_MS = 1_000;
/** Shared by all connections without waiting packets. */
const NO_PACKETS: (string | Writable)[] = [];
/** Used by one connection at a time. */
const writer = new WsFrameWriter();
/** The type of an Engine.IO message, its first character. */
const MESSAGE = '4';
const UNCOMPRESSED = { compress: false };

/** The number by which the client matches an acknowledgement to its event; `null` if it requested none. */
export type AckId = number | null;

/**
 * Writes everything that one client is sent. Frames and acknowledgements, which are most of it, bypass socket.io while
 * nothing waits on the connection, and go through socket.io otherwise, always in order. The packets are those of Socket.IO's
 * protocol: https://socket.io/docs/v4/socket-io-protocol/#packet-encoding
 */
export class SocketOutput implements FrameSink {
  /** Packets that wait for the end of the turn of the event loop. */
  #packets = NO_PACKETS;
  #direct: DirectSocket | null;
  #hasUnsentFrame = false;
  /** Created when something was not sent at once. */
  #unread: UnreadAcks | null = null;

  constructor(
    private readonly socket: GatewaySocket,
    private readonly ackQueue: FlushQueue,
    private readonly clock: Clock,
    private readonly shortcuts: Shortcuts,
    private readonly flowControl: FlowControl,
  ) {
    socket.data.output = this;
    socket.onAnyOutgoing(beforeEmit);
    this.#direct = DirectSocket.open(socket.conn, shortcuts);
    if (this.#direct === null) {
      socket.conn.once('upgrade', () => (this.#direct = DirectSocket.open(socket.conn, shortcuts)));
    }
  }

  get direct(): DirectSocket | null {
    return this.#direct;
  }

  /** @param json the response: ASCII */
  acknowledge(id: AckId, json: string): void {
    if (id !== null) this.send(`3${id}[${json}]`);
  }

  reject(id: AckId, error: ErrorBody): void {
    this.acknowledge(id, toAsciiJson({ ok: false, error }));
  }

  /** Sends a Socket.IO packet together with the acknowledgements of this turn. */
  send(packet: string | Writable): void {
    if (!this.socket.connected) return;
    if (this.#packets.length === 0) {
      this.#packets = [];
      this.ackQueue.add(this);
    }
    this.#packets.push(packet);
  }

  /** Writes the packets that wait for the end of the turn. */
  flush(): void {
    const packets = this.#packets;
    if (packets.length === 0) return;
    this.#packets = NO_PACKETS;
    if (this.#direct?.isOpen && packets.length <= UNREAD_MAX) {
      for (const packet of packets) writer.frame(MESSAGE, packet);
      this.#direct.write(writer.take());
      return;
    }
    this.#unreadAcks().write(packets.map((packet) => (typeof packet === 'string' ? packet : writer.toText(packet))));
  }

  get hasUnsent(): boolean {
    return this.#hasUnsentFrame || this.#direct?.hasUnsent === true;
  }

  write(frame: Frame): void {
    // A frame continues the snapshots of an acknowledgement to `subscribe`, so that goes first.
    this.flush();
    if (this.#direct?.isOpen) this.#direct.write((frame.encoded ??= encodeFrame(frame)));
    else {
      this.#hasUnsentFrame = true;
      this.socket.conn.write(encodeEvent(frame.body), UNCOMPRESSED, () => (this.#hasUnsentFrame = false));
    }
  }

  /** With the acknowledgements of this turn. Those that the client does not read are limited together with them. */
  sendMilestone({ body }: EncodedMilestone): void {
    this.send(`2["milestone",${body}]`);
  }

  disconnectSlow(): void {
    this.disconnect('this connection does not read what it is sent', SLOW_RETRY_MS);
    this.clock.after(DISCONNECT_MS, () => terminateConnection(this.socket.conn));
  }

  /** Ends the connection with `bye`; see `beforeEmit`. Packets written before are sent first. */
  disconnect(reason: string, retryAfterMs: number): void {
    this.socket.emit('bye', { reason, retryAfterMs });
  }

  /** Closes the transport once everything written has been sent, and terminates a WebSocket that is not closed by then. */
  close(): void {
    this.clock.soon(() => this.socket.conn.close());
    this.clock.after(CLOSE_TIMEOUT_MS, () => this.flowControl.terminateWebSockets());
  }

  /**
   * Called before an event is written, also before one to the actor's room from another gateway. After `bye` the transport
   * is closed without Socket.IO's own packet for disconnecting, because stock clients do not reconnect after that packet.
   */
  beforeEmit(event: string): void {
    this.flush();
    if (event === 'bye') this.close();
    else this.#unreadAcks().watch();
  }

  #unreadAcks(): UnreadAcks {
    const { socket, clock, shortcuts, flowControl } = this;
    return (this.#unread ??= new UnreadAcks(socket.conn, clock, shortcuts, flowControl, () => this.disconnectSlow()));
  }
}

/** One listener for all connections. */
function beforeEmit(this: GatewaySocket, event: string): void {
  this.data.output.beforeEmit(event);
}

function encodeEvent(body: string): string {
  return `2["counts",${body}]`;
}

/** Encodes the event of `encodeEvent` as a WebSocket frame. */
function encodeFrame(frame: Frame): Buffer {
  writer.frame('42["counts",', frame, ']');
  return writer.take();
}

/** Messages of errors may contain names of fields that a client made up. */
export function toAsciiJson(value: unknown): string {
  return JSON.stringify(value).replace(/[^\0-\x7f]/g, (character) => {
    return `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`;
  });
}

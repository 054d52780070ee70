import type { Socket } from 'socket.io';
import type { Identity } from '../access/authenticator.js';
import type { ClientCreations } from '../access/inventions.js';
import type { OperationLimiter, TokenBucket } from '../access/rate-limit.js';
import type { Clock, Timer } from '../common/clock.js';
import type { Key64 } from '../counters/ids.js';
import type { Frame } from '../fanout/frame.js';
import type { FrameSink, Viewer } from '../fanout/viewer.js';
import type { Writable } from '../common/ascii-writer.js';
import type { ErrorBody } from '../protocol/errors.js';
import type { ByeEvent, MineEvent } from '../protocol/messages.js';
import { CLOSE_TIMEOUT_MS } from './transport/websocket-limits.js';
import { DirectSocket, terminate } from './transport/direct-socket.js';
import { readFrames } from './ws-frame-reader.js';
import { WsFrameWriter } from './transport/ws-frame-writer.js';
import { CONGESTED, type Intake, type IntakeOwner } from './intake.js';
import type { AckQueue } from './ack-queue.js';
import type { PausableConnection } from './read-backpressure.js';
import type { Shortcuts } from './transport/shortcuts.js';
import { UNREAD_MAX, UnreadAcks } from './unread-answers.js';

/** How long a connection that is cut has to read why. */
const CUT_AFTER_MS = 1_000;
/** A client that is disconnected because it sent too much is asked to wait this long. */
const FLOOD_RETRY_MS = 10_000;
/** Shared by all connections that have none. */
const NO_ANSWERS: (string | Writable)[] = [];
/** Used by one connection at a time. */
const writer = new WsFrameWriter();
/** Before an Engine.IO message. */
const MESSAGE = '4';
const UNCOMPRESSED = { compress: false };

/** The number by which the client knows the answer to an event; `null` where it asked for none. */
export type AckId = number | null;

interface ConnectionData {
  identity: Identity;
  session: Key64 | null;
  address: string;
  connection: Connection;
}

interface Events {
  mine: (event: MineEvent) => void;
  bye: (event: ByeEvent) => void;
}

export type GatewaySocket = Socket<Record<string, never>, Events, Record<string, never>, ConnectionData>;

/**
 * One client's socket: who acts there, what it may do, and the order of what it asked. What goes out most, frames and
 * answers, is written past socket.io where nothing waits on the connection, and through it elsewhere, always in order. The
 * packets are those of Socket.IO's protocol: https://socket.io/docs/v4/socket-io-protocol/#packet-encoding
 */
export class Connection implements FrameSink, PausableConnection, IntakeOwner {
  /** Set by the gateway, right after it was made. */
  viewer!: Viewer;
  /** Ends the connection with its token. */
  expiry: Timer | null = null;
  /** Operations taken in and not yet answered. */
  #pending = 0;
  #settled: (() => void)[] | null = null;
  /** Ends when all that was asked so far in order is done. */
  #tail: Promise<void> | null = null;
  /** Packets that wait for the end of the turn. */
  #answers = NO_ANSWERS;
  #direct: DirectSocket | null;
  #unsentFrame = false;
  /** Made for those that have not read something at once. */
  #unread: UnreadAcks | null = null;

  constructor(
    readonly socket: GatewaySocket,
    private readonly outbox: AckQueue,
    private readonly clock: Clock,
    private readonly shortcuts: Shortcuts,
    readonly intake: Intake,
    /** The actor's key: the name's, or one made for this connection. */
    readonly actor: Key64,
    readonly operations: OperationLimiter,
    /** Posts looked up by `subscribe` and `unsubscribe`. */
    readonly lookups: TokenBucket,
    /** `null` where the address is spared. */
    readonly inventor: ClientCreations | null,
  ) {
    socket.data.connection = this;
    intake.owner = this;
    socket.onAnyOutgoing(emitting);
    this.#direct = this.#goDirect();
    if (this.#direct === null) socket.conn.once('upgrade', () => (this.#direct = this.#goDirect()));
  }

  get identity(): Identity {
    return this.socket.data.identity;
  }

  get session(): Key64 | null {
    return this.socket.data.session;
  }

  get isPolling(): boolean {
    return this.socket.conn.transport.name === 'polling';
  }

  get address(): string {
    return this.socket.data.address;
  }

  beginOperation(): void {
    this.#pending += 1;
  }

  endOperation(): void {
    this.#pending -= 1;
    if (this.#pending > 0 || this.#settled === null) return;
    const settled = this.#settled;
    this.#settled = null;
    for (const resolve of settled) resolve();
  }

  get unacknowledged(): number {
    return this.#pending;
  }

  pause(): boolean {
    if (this.socket.conn.transport.name !== 'websocket') return false;
    this.intake.pause(CONGESTED);
    return true;
  }

  pauseReading(): (() => void) | null {
    const direct = this.#direct;
    return direct?.pauseReading() === true ? () => direct.resumeReading() : null;
  }

  excludePause(forMs: number): void {
    this.operations.excludePause(this.clock.nowMs(), forMs);
  }

  disconnectFlooding(): void {
    this.disconnect('this connection keeps on sending more than it may', FLOOD_RETRY_MS);
  }

  keepAliveWhilePaused(): void {
    this.#direct?.restartPingTimeout();
  }

  resume(): void {
    this.intake.resume(CONGESTED);
  }

  /**
   * Runs `task` after what this connection asked before: its operations answered, its earlier tasks done. Not at all
   * when the client has left meanwhile: what a task takes for it nobody would give back.
   */
  runInOrder(task: () => Promise<void> | void): void {
    const before = this.#tail ?? Promise.resolve();
    const tail = before
      .then(() => this.#operationsAnswered())
      .then(() => (this.socket.connected ? task() : undefined))
      .finally(() => {
        if (this.#tail === tail) this.#tail = null;
      });
    this.#tail = tail;
  }

  /** @param json the answer: ASCII */
  acknowledge(id: AckId, json: string): void {
    if (id !== null) this.send(`3${id}[${json}]`);
  }

  /** Sends a packet of Socket.IO's with the answers of this turn. */
  send(packet: string | Writable): void {
    if (!this.socket.connected) return;
    if (this.#answers.length === 0) {
      this.#answers = [];
      this.outbox.add(this);
    }
    this.#answers.push(packet);
  }

  reject(id: AckId, error: ErrorBody): void {
    this.acknowledge(id, toAsciiJson({ ok: false, error }));
  }

  /** Writes the answers that wait. */
  flush(): void {
    const answers = this.#answers;
    if (answers.length === 0) return;
    this.#answers = NO_ANSWERS;
    if (this.#direct?.isOpen && answers.length <= UNREAD_MAX) {
      for (const answer of answers) writer.frame(MESSAGE, answer);
      this.#direct.write(writer.take());
      return;
    }
    this.#unreadAnswers().write(answers.map((answer) => (typeof answer === 'string' ? answer : writer.toText(answer))));
  }

  get hasUnsent(): boolean {
    return this.#unsentFrame || this.#direct?.hasUnsent === true;
  }

  write(frame: Frame): void {
    // A frame continues what an answer to `subscribe` has shown.
    this.flush();
    if (this.#direct?.isOpen) this.#direct.write((frame.encoded ??= encode(frame)));
    else {
      this.#unsentFrame = true;
      this.socket.conn.write(eventOf(frame.body), UNCOMPRESSED, () => (this.#unsentFrame = false));
    }
  }

  disconnectSlow(): void {
    this.disconnect('this connection does not read what it is sent', 1_000);
    this.clock.after(CUT_AFTER_MS, () => terminate(this.socket.conn));
  }

  /** Ends the connection; see `beforeEmit`. What is written is sent first. */
  disconnect(reason: string, retryAfterMs: number): void {
    this.socket.emit('bye', { reason, retryAfterMs });
  }

  /** Closes the transport once what was written has been sent, and ends a WebSocket that is not closed by then. */
  close(): void {
    this.clock.soon(() => this.socket.conn.close());
    this.clock.after(CLOSE_TIMEOUT_MS, () => this.intake.terminateWebSockets());
  }

  #unreadAnswers(): UnreadAcks {
    const { socket, clock, shortcuts, intake } = this;
    return (this.#unread ??= new UnreadAcks(socket.conn, clock, shortcuts, intake, () => this.disconnectSlow()));
  }

  #goDirect(): DirectSocket | null {
    readFrames(this.socket.conn, this.shortcuts.directRead, this.intake);
    return DirectSocket.open(this.socket.conn, this.shortcuts);
  }

  #operationsAnswered(): Promise<void> | void {
    if (this.#pending > 0) return new Promise((resolve) => (this.#settled ??= []).push(resolve));
  }

  /**
   * Called before an event is written, also one to the actor's room that came from another gateway. After `disconnect` the
   * transport is closed, without Socket.IO's own packet for it: stock clients come back by themselves after the one, and
   * not after the other.
   */
  beforeEmit(event: string): void {
    this.flush();
    if (event === 'bye') this.close();
    else this.#unreadAnswers().watch();
  }
}

/** One for all connections. */
function emitting(this: GatewaySocket, event: string): void {
  this.data.connection.beforeEmit(event);
}

function eventOf(body: string): string {
  return `2["counts",${body}]`;
}

/** As `eventOf` in a WebSocket frame. */
function encode(frame: Frame): Buffer {
  writer.frame('42["counts",', frame, ']');
  return writer.take();
}

/** Messages of errors may name fields that a client made up. */
export function toAsciiJson(value: unknown): string {
  return JSON.stringify(value).replace(/[^\0-\x7f]/g, (character) => {
    return `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`;
  });
}

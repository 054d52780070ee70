import type { Socket } from 'socket.io';
import type { Identity } from '../access/identity.js';
import type { OperationLimit, TokenBucket } from '../access/rate-limit.js';
import type { Clock, Timer } from '../clock.js';
import type { Key64 } from '../counters/ids.js';
import type { FrameSink, Viewer } from '../fanout/viewer.js';
import type { ErrorBody } from '../protocol/errors.js';
import type { ByeEvent, Failure, MineEvent, OperationAnswer, SubscribeAnswer } from '../protocol/messages.js';
import { webSocketOf } from './bounded-transports.js';

/**
 * Answers that may wait for a client; with more, one that reads nothing for UNREAD_MS is cut. Time decides and not the
 * number alone: a commit answers thousands at once, and nothing leaves before all have been written.
 */
const UNREAD_MAX = 1_000;
const UNREAD_MS = 2_000;
/** How long a connection that is cut has to read why. */
const CUT_AFTER_MS = 1_000;

export type Acknowledge = (answer: OperationAnswer | SubscribeAnswer | Failure | { readonly ok: true }) => void;

interface ConnectionData {
  identity: Identity;
  session: Key64 | null;
  address: string;
  connection: Connection;
}

interface Events {
  counts: (updates: unknown) => void;
  mine: (event: MineEvent) => void;
  bye: (event: ByeEvent) => void;
}

export type CountsSocket = Socket<Record<string, never>, Events, Record<string, never>, ConnectionData>;

/** One client's socket: who acts there, what it may do, and the order of what it asked. */
export class Connection implements FrameSink {
  /** Set by the gateway, right after it was made. */
  viewer!: Viewer;
  /** Ends the connection with its token. */
  expiry: Timer | null = null;
  /** Operations taken in and not yet answered. */
  #pending = 0;
  #settled: (() => void)[] = [];
  /** Ends when all that was asked so far in order is done. */
  #tail: Promise<void> | null = null;
  #unsentFrame = false;
  /** Whether it is being watched for reading. */
  #watched = false;

  constructor(
    readonly socket: CountsSocket,
    private readonly clock: Clock,
    /** The actor's key: the name's, or one made for this connection. */
    readonly actor: Key64,
    readonly operations: OperationLimit,
    /** Posts looked up by `subscribe` and `unsubscribe`. */
    readonly lookups: TokenBucket,
  ) {
    socket.onAnyOutgoing(this.#emitting);
  }

  get identity(): Identity {
    return this.socket.data.identity;
  }

  get session(): Key64 | null {
    return this.socket.data.session;
  }

  begin(): void {
    this.#pending += 1;
  }

  end(): void {
    this.#pending -= 1;
    if (this.#pending > 0 || this.#settled.length === 0) return;
    for (const settled of this.#settled.splice(0)) settled();
  }

  /**
   * Runs `task` after what this connection asked before: its operations answered, its earlier tasks done. Not at all
   * when the client has left meanwhile: what a task takes for it nobody would give back.
   */
  inOrder(task: () => Promise<void> | void): void {
    const before = this.#tail ?? Promise.resolve();
    const tail = before
      .then(() => this.#operationsAnswered())
      .then(() => (this.socket.connected ? task() : undefined))
      .finally(() => {
        if (this.#tail === tail) this.#tail = null;
      });
    this.#tail = tail;
  }

  answer(acknowledge: Acknowledge | undefined, answer: Parameters<Acknowledge>[0]): void {
    if (acknowledge === undefined || !this.socket.connected) return;
    acknowledge(answer);
    this.#watchReading();
  }

  refuse(acknowledge: Acknowledge | undefined, error: ErrorBody): void {
    this.answer(acknowledge, { ok: false, error });
  }

  get behind(): boolean {
    return this.#unsentFrame;
  }

  /**
   * An event packet of Socket.IO's protocol (type 2), written to Engine.IO as it is, in order with socket.io's own
   * packets: the updates were encoded once for all viewers.
   * https://socket.io/docs/v4/socket-io-protocol/#packet-encoding
   */
  write(body: string): void {
    this.#unsentFrame = true;
    this.socket.conn.write(`2["counts",${body}]`, { compress: false }, this.#sent);
  }

  cut(): void {
    this.bye('this connection does not read what it is sent', 1_000);
    this.clock.after(CUT_AFTER_MS, () => terminate(this.socket));
  }

  /** Ends the connection; see #emitting. What is written is sent first. */
  bye(reason: string, retryAfterMs: number): void {
    this.socket.emit('bye', { reason, retryAfterMs });
  }

  #operationsAnswered(): Promise<void> | void {
    if (this.#pending > 0) return new Promise((resolve) => this.#settled.push(resolve));
  }

  #watchReading(): void {
    const waiting = unread(this.socket);
    if (this.#watched || waiting.length <= UNREAD_MAX) return;
    this.#watched = true;
    const [next] = waiting;
    this.clock.after(UNREAD_MS, () => {
      this.#watched = false;
      if (unread(this.socket)[0] === next) this.cut();
      else this.#watchReading();
    });
  }

  /**
   * Called before an event is written, also one to the actor's room that came from another gateway. After `bye` the
   * transport is closed, without Socket.IO's own packet for it: stock clients come back by themselves after the one, and
   * not after the other.
   */
  readonly #emitting = (event: string): void => {
    if (event === 'bye') this.clock.soon(() => this.socket.conn.close());
    else this.#watchReading();
  };

  readonly #sent = () => {
    this.#unsentFrame = false;
  };
}

/** Packets that Engine.IO holds for the client. Its field is public in its JavaScript, and private in its types. */
function unread({ conn }: CountsSocket): readonly unknown[] {
  return (conn as unknown as { readonly writeBuffer: readonly unknown[] }).writeBuffer;
}

/**
 * Ends the connection and what is buffered for it. Closed only, a WebSocket would wait half a minute for the answer of a
 * client that reads nothing.
 */
function terminate({ conn }: CountsSocket): void {
  conn.close(true);
  webSocketOf(conn.transport)?.terminate();
}

import type { Failure } from '../../src/protocol/messages.js';
import type { Clock, Timer } from './environment.js';
import { LiveCountsError } from './errors.js';
import type { Acknowledgement, TransportConnection, ClientOperation, Transport } from './transport.js';

/** More than a hand can click and a page can show; a thousand operations are about 100 KB. */
const PENDING_MAX = 1_000;
/** The wait after a retryable error without `retryAfterMs`. */
const RETRY_MS = 1_000;
/**
 * An operation with an unknown outcome waits this long for a socket before HTTP may take it. By then the
 * gateway's pings have ended the old connection, too: nothing that was sent over it can take effect any more.
 */
const STRANDED_MS = 60_000;
/** A gateway recognises a retry for an hour; 5 min less, to allow for clocks and latency. A page may sleep longer. */
const RECOGNISED_MS = 55 * 60_000;

/** Receives the progress of each operation: `sent` once or more, then `acknowledged` or `refused` once. */
export interface SessionListener {
  sent(operation: ClientOperation): void;
  acknowledged(operation: ClientOperation, answer: Acknowledgement): void;
  refused(operation: ClientOperation): void;
}

export interface UnacknowledgedOperation {
  readonly operation: ClientOperation;
  /** The transport as whose operation it was sent first: only as such a retry is recognised. */
  readonly sentOver: Transport['kind'] | undefined;
  /** When it was sent for the first time. */
  readonly sentAtMs: number;
}

interface QueuedOperation extends UnacknowledgedOperation {
  sentOver: Transport['kind'] | undefined;
  sentAtMs: number;
  resolve(): void;
  reject(error: LiveCountsError): void;
}

/**
 * The operations that are not acknowledged yet, in the order of their seq.
 *
 *   push -> [ 7 | 8 | 9 ]   7 is on its way, 8 and 9 wait for its acknowledgement
 *             |
 *             acknowledged, or a final error -> removed, 8 is sent
 *             a retryable error              -> 7 is retried after `retryAfterMs`
 *             connection lost                -> 7 is retried over the next socket, or over HTTP if it was sent over HTTP
 *             no socket for STRANDED_MS, or no connection for RECOGNISED_MS
 *                                            -> a toggle is set again, a tally's outcome stays unknown
 *             the page is left               -> 7, 8 and 9 are sent as one request, and stay queued
 *
 * One at a time, which costs a round trip each. The gateway remembers only the last seq of a session: if it counted 8
 * after rejecting 7, it would take the retry of 7 for a duplicate and never count it.
 */
export class Session {
  readonly #queue: QueuedOperation[] = [];
  #lastSeq = 0;
  #connection: TransportConnection | undefined;
  /** That of the last connection. Before the first one it is not known whether a socket gets through, and HTTP does. */
  #kind: Transport['kind'] = 'events';
  #isSending = false;
  #retryTimer: Timer | undefined;

  constructor(
    private readonly clock: Clock,
    private readonly listener: SessionListener,
    private readonly operateOverHttp: TransportConnection['operate'],
  ) {}

  /** In the order of their seq. */
  get unacknowledged(): readonly UnacknowledgedOperation[] {
    return this.#queue;
  }

  /** @throws LiveCountsError QUEUE_FULL when PENDING_MAX already wait. */
  push(post: string, metric: string, value: boolean | number): { operation: ClientOperation; done: Promise<void> } {
    if (this.#queue.length >= PENDING_MAX) {
      const message = `${PENDING_MAX} operations wait for the gateway already; call again when some are acknowledged`;
      throw new LiveCountsError('QUEUE_FULL', message);
    }
    const operation = { seq: ++this.#lastSeq, post, metric, value };
    const done = new Promise<void>((resolve, reject) => {
      this.#queue.push({ operation, sentOver: undefined, sentAtMs: 0, resolve, reject });
    });
    return { operation, done };
  }

  /** Sends over this connection from now on, unacknowledged operations first. */
  attach(connection: TransportConnection, kind: Transport['kind']): void {
    this.detach();
    this.#connection = connection;
    this.#kind = kind;
    this.sendNext();
  }

  detach(): void {
    this.#connection = undefined;
    this.#isSending = false;
    this.#retryTimer?.cancel();
  }

  /** Rejects all queued operations. */
  rejectAll(error: LiveCountsError): void {
    this.#isSending = false;
    this.#retryTimer?.cancel();
    for (const entry of this.#queue.splice(0)) {
      this.listener.refused(entry.operation);
      entry.reject(error);
    }
  }

  /** Sends the first operation unless one is on its way. */
  sendNext(): void {
    const entry = this.#queue[0];
    const connection = this.#connection;
    if (!entry || !connection || this.#isSending) return;
    this.#isSending = true;
    this.#markSent(entry);
    const isOwnKind = entry.sentOver === this.#kind;
    if (!isOwnKind && this.#kind === 'events') {
      this.#retryTimer = this.clock.after(STRANDED_MS, () => this.#giveUp(entry));
      return;
    }
    if (this.clock.nowMs() - entry.sentAtMs > RECOGNISED_MS) return this.#giveUp(entry);
    const { operation } = entry;
    this.listener.sent(operation);
    const answer = isOwnKind ? connection.operate(operation) : this.operateOverHttp(operation);
    answer.then(
      (answer) => this.#handleAnswer(connection, entry, answer),
      () => this.#retryUnanswered(connection, entry),
    );
  }

  /** Records that all operations are on their way, those that were not sent yet over the transport of the last connection. */
  markAllSent(): void {
    for (const entry of this.#queue) {
      this.#markSent(entry);
      this.listener.sent(entry.operation);
    }
  }

  #markSent(entry: QueuedOperation): void {
    if (entry.sentOver) return;
    entry.sentOver = this.#kind;
    entry.sentAtMs = this.clock.nowMs();
  }

  #handleAnswer(connection: TransportConnection, entry: QueuedOperation, answer: Acknowledgement | Failure): void {
    // Another connection has replaced this one, or the operation was rejected: ignore a late answer.
    if (entry !== this.#queue[0] || connection !== this.#connection) return;
    if (!answer.ok && answer.error.retryable) {
      this.#retryLater(answer.error.retryAfterMs ?? RETRY_MS);
      return;
    }
    if (!answer.ok) return this.#rejectFirst(LiveCountsError.from(answer.error));
    this.#queue.shift();
    this.#isSending = false;
    this.listener.acknowledged(entry.operation, answer);
    entry.resolve();
    this.sendNext();
  }

  #rejectFirst(error: LiveCountsError): void {
    const entry = this.#queue.shift()!;
    this.#isSending = false;
    this.listener.refused(entry.operation);
    entry.reject(error);
    this.sendNext();
  }

  /**
   * No gateway recognises a retry of this operation any more, so its outcome stays unknown. A toggle is set again, unless later
   * operations have left with the page: one of them may have set it otherwise already.
   */
  #giveUp(entry: QueuedOperation): void {
    if (typeof entry.operation.value === 'number' || this.#queue[1]?.sentOver) {
      this.#rejectFirst(
        new LiveCountsError('OUTCOME_UNKNOWN', 'the acknowledgement was lost: this may have been counted'),
      );
      return;
    }
    entry.sentOver = undefined;
    this.#isSending = false;
    this.sendNext();
  }

  #retryUnanswered(connection: TransportConnection, entry: QueuedOperation): void {
    if (entry === this.#queue[0] && connection === this.#connection) this.#retryLater(RETRY_MS);
  }

  #retryLater(ms: number): void {
    this.#retryTimer = this.clock.after(ms, () => {
      this.#isSending = false;
      this.sendNext();
    });
  }
}

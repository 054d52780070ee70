import type { Failure } from '../../src/protocol/messages.js';
import type { Clock, Timer } from './environment.js';
import { LiveCountsError } from './errors.js';
import type { Acknowledgement, TransportConnection, ClientOperation, Transport } from './transport.js';

/** More than a hand can click and a page can show; a thousand operations are about 100 KB. */
const PENDING_MAX = 1_000;
/** Where a retryable refusal names no time. */
const RETRY_MS = 1_000;
/**
 * How long a connection of another kind is kept from an operation whose outcome is unknown. By then the gateway, which
 * pings, has ended the old connection, too: nothing that was sent over it can take effect any more.
 */
const STRANDED_MS = 60_000;
/** A gateway recognises a retry for an hour; less what the clocks and the ways differ. A page may sleep for longer. */
const RECOGNISED_MS = 55 * 60_000;

/** Hears what becomes of each operation: `sent` once or more, then `acknowledged` or `refused` once. */
interface SessionListener {
  sent(operation: ClientOperation): void;
  acknowledged(operation: ClientOperation, answer: Acknowledgement): void;
  refused(operation: ClientOperation): void;
}

interface QueuedOperation {
  readonly operation: ClientOperation;
  /** How it was sent, if it was: retries are recognised only there. */
  sentOver: Transport['kind'] | undefined;
  /** When that was, for the first time. */
  sentAtMs: number;
  resolve(): void;
  reject(error: LiveCountsError): void;
}

/**
 * Operations that are not acknowledged yet, in the order of their numbers.
 *
 *   push -> [ 7 | 8 | 9 ]   7 is on its way, 8 and 9 wait for its answer
 *             |
 *             acknowledged, or refused for good -> settled, 8 goes out
 *             refused for now                   -> 7 again after `retryAfterMs`
 *             connection lost                   -> 7 again over the next one of its kind
 *             none of its kind for STRANDED_MS, or none for RECOGNISED_MS
 *                                               -> a toggle is set again, a tally's outcome stays unknown
 *
 * One at a time, which costs a round trip each: the gateway remembers the last number of a session, so were 8 counted
 * behind a refused 7, the retry of 7 would be taken for a duplicate and never be counted.
 */
export class Session {
  readonly #entries: QueuedOperation[] = [];
  #lastSeq = 0;
  #connection: TransportConnection | undefined;
  #kind: Transport['kind'] = 'socket';
  #sending = false;
  #pause: Timer | undefined;

  constructor(
    private readonly clock: Clock,
    private readonly listener: SessionListener,
  ) {}

  /** How many wait. */
  get size(): number {
    return this.#entries.length;
  }

  /** Over which transport the first must be repeated, because its outcome there is unknown. */
  get boundTransport(): Transport['kind'] | undefined {
    return this.#entries[0]?.sentOver;
  }

  /** @throws LiveCountsError QUEUE_FULL when PENDING_MAX already wait. */
  push(post: string, metric: string, value: boolean | number): { operation: ClientOperation; done: Promise<void> } {
    if (this.#entries.length >= PENDING_MAX) {
      const message = `${PENDING_MAX} operations already wait for the gateway; call again when some are acknowledged`;
      throw new LiveCountsError('QUEUE_FULL', message);
    }
    const operation = { seq: ++this.#lastSeq, post, metric, value };
    const done = new Promise<void>((resolve, reject) => {
      this.#entries.push({ operation, sentOver: undefined, sentAtMs: 0, resolve, reject });
    });
    return { operation, done };
  }

  /** Sends over this connection from now on, beginning with what is not acknowledged. */
  attach(connection: TransportConnection, kind: Transport['kind']): void {
    this.detach();
    this.#connection = connection;
    this.#kind = kind;
    this.sendNext();
  }

  detach(): void {
    this.#connection = undefined;
    this.#sending = false;
    this.#pause?.cancel();
  }

  /** Rejects everything that waits. */
  rejectAll(error: LiveCountsError): void {
    this.#sending = false;
    this.#pause?.cancel();
    for (const entry of this.#entries.splice(0)) {
      this.listener.refused(entry.operation);
      entry.reject(error);
    }
  }

  /** Sends the first, if none is on its way. */
  sendNext(): void {
    const entry = this.#entries[0];
    const connection = this.#connection;
    if (!entry || !connection || this.#sending) return;
    this.#sending = true;
    if (!entry.sentOver) {
      entry.sentOver = this.#kind;
      entry.sentAtMs = this.clock.nowMs();
    }
    if (entry.sentOver !== this.#kind) {
      this.#pause = this.clock.after(STRANDED_MS, () => this.#forgotten(entry));
      return;
    }
    if (this.clock.nowMs() - entry.sentAtMs > RECOGNISED_MS) return this.#forgotten(entry);
    this.listener.sent(entry.operation);
    connection.operate(entry.operation).then(
      (answer) => this.#answered(connection, entry, answer),
      () => this.#unanswered(connection, entry),
    );
  }

  #answered(connection: TransportConnection, entry: QueuedOperation, answer: Acknowledgement | Failure): void {
    // Another connection has taken over, or all was given up; the answer to a later attempt counts.
    if (entry !== this.#entries[0] || connection !== this.#connection) return;
    if (!answer.ok && answer.error.retryable) {
      this.#later(answer.error.retryAfterMs ?? RETRY_MS);
      return;
    }
    if (!answer.ok) return this.#refused(LiveCountsError.from(answer.error));
    this.#entries.shift();
    this.#sending = false;
    this.listener.acknowledged(entry.operation, answer);
    entry.resolve();
    this.sendNext();
  }

  #refused(error: LiveCountsError): void {
    const entry = this.#entries.shift()!;
    this.#sending = false;
    this.listener.refused(entry.operation);
    entry.reject(error);
    this.sendNext();
  }

  /** Nobody can be asked for its outcome any more. */
  #forgotten(entry: QueuedOperation): void {
    if (typeof entry.operation.value === 'number') {
      this.#refused(new LiveCountsError('OUTCOME_UNKNOWN', 'the answer was lost: this was counted, or not'));
      return;
    }
    entry.sentOver = undefined;
    this.#sending = false;
    this.sendNext();
  }

  #unanswered(connection: TransportConnection, entry: QueuedOperation): void {
    if (entry === this.#entries[0] && connection === this.#connection) this.#later(RETRY_MS);
  }

  #later(ms: number): void {
    this.#pause = this.clock.after(ms, () => {
      this.#sending = false;
      this.sendNext();
    });
  }
}

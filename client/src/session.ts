import type { Failure } from '../../src/protocol/messages.js';
import type { Clock, Timer } from './environment.js';
import { LiveCountsError } from './errors.js';
import type { Acknowledgement, TransportConnection, ClientOperation, Transport } from './transport.js';

/** More than a hand can click and a page can show; a thousand operations are about 100 KB. */
const PENDING_MAX = 1_000;
/** Operations on their way over a socket: the burst that a gateway admits at once unless it is set otherwise. */
const WINDOW = 50;
/** Browsers open six connections to a server over HTTP/1.1, and the event stream has one of them. */
const REQUESTS_MAX = 5;
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

export interface UnacknowledgedOperation extends ClientOperation {
  /** The transport as whose operation it was sent first: only as such a retry is recognised. */
  readonly sentOver: Transport['kind'] | undefined;
  /** When it was sent for the first time. */
  readonly sentAtMs: number;
  /** Settles with its outcome. */
  readonly done: Promise<void>;
}

interface QueuedOperation extends UnacknowledgedOperation {
  sentOver: Transport['kind'] | undefined;
  sentAtMs: number;
  /** Its part of the queue: 0 if it was sent, 1 if a toggle waits on its post, else 2. */
  rank: number;
  done: Promise<void>;
  /** Its answer, or over HTTP its retry, is due on this connection. */
  isInFlight: boolean;
  resolve(): void;
  reject(error: LiveCountsError): void;
}

/**
 * The operations that are not acknowledged yet: those that were sent, in the order of their seq, then the others.
 *
 *   push -> [ 7 | 8 | - | - ]   7 and 8 are on their way; the others get a seq when they are sent for the first time
 *             |
 *             acknowledged, or a final error -> removed, whatever stands before it
 *             a retryable error              -> after `retryAfterMs`, a socket resends 7 and 8; HTTP retries that one
 *             connection lost                -> 7 and 8 are resent over the next socket, or over HTTP if they were sent over HTTP
 *             no socket for STRANDED_MS, or no connection for RECOGNISED_MS
 *                                            -> a toggle is set again, a tally's outcome stays unknown
 *             the page is left               -> all are sent as one request, and stay queued
 *
 * A socket carries operations in the order of their seq, each connection from the first unacknowledged one on, because the
 * gateway remembers only the last seq of a session. It rejects what comes behind an operation that it rejected until that
 * one comes again. HTTP requests may overtake each other, so a post has one at a time.
 */
export class Session {
  readonly #queue: QueuedOperation[] = [];
  #lastId = 0;
  #lastSeq = 0;
  #connection: TransportConnection | undefined;
  /** That of the last connection. Before the first one it is not known whether a socket gets through, and HTTP does. */
  #kind: Transport['kind'] = 'events';
  /** Nothing goes out over a socket while it runs. Beside HTTP it is the wait for another socket. */
  #pause: Timer | undefined;
  /** Tallies wait for the end of the animation frame. */
  #isFrameDue = false;

  constructor(
    private readonly clock: Clock,
    private readonly listener: SessionListener,
    private readonly operateOverHttp: TransportConnection['operate'],
  ) {}

  /** In the order in which they are sent. */
  get unacknowledged(): readonly UnacknowledgedOperation[] {
    return this.#queue;
  }

  /** @throws LiveCountsError QUEUE_FULL when PENDING_MAX already wait. */
  push(post: string, metric: string, value: boolean | number): { operation: ClientOperation; done: Promise<void> } {
    if (this.#queue.length >= PENDING_MAX) {
      const message = `${PENDING_MAX} operations wait for the gateway already; call again when some are acknowledged`;
      throw new LiveCountsError('QUEUE_FULL', message);
    }
    const operation = { id: ++this.#lastId, seq: Infinity, post, metric, value };
    const done = new Promise<void>((resolve, reject) => {
      const progress = { sentOver: undefined, sentAtMs: 0, rank: 0, isInFlight: false };
      this.#queue.push({ ...operation, ...progress, resolve, reject } as QueuedOperation);
    });
    this.#queue.at(-1)!.done = done;
    if (typeof value === 'number' && !this.#isFrameDue) {
      this.#isFrameDue = true;
      this.clock.frame(() => {
        this.#isFrameDue = false;
        this.send();
      });
    }
    return { operation, done };
  }

  /** Sends over this connection from now on, unacknowledged operations first. */
  attach(connection: TransportConnection, kind: Transport['kind']): void {
    this.detach();
    this.#connection = connection;
    this.#kind = kind;
    if (kind === 'events') this.#pauseFor(STRANDED_MS);
    this.send();
  }

  detach(): void {
    this.#connection = undefined;
    this.#pause?.cancel();
    this.#pause = undefined;
    for (const entry of this.#queue) entry.isInFlight = false;
  }

  /** Rejects all queued operations. */
  rejectAll(error: LiveCountsError): void {
    for (const entry of [...this.#queue]) this.#reject(entry, error);
  }

  /** Sends what may go out now. */
  send(): void {
    const connection = this.#connection;
    if (!connection) return;
    for (const entry of [...this.#queue]) if (this.#isOutdated(entry)) this.#giveUp(entry);
    const entries = this.#takeSendable();
    for (const entry of entries) {
      const answer = entry.sentOver === this.#kind ? connection.operate(entry) : this.operateOverHttp(entry);
      // One step only: an event that follows the answer is delivered right after it.
      answer.then(
        (answer) => this.#handleAnswer(connection, entry, answer),
        () => this.#handleAnswer(connection, entry),
      );
    }
    // Last, because listeners may make further operations.
    for (const entry of entries) this.listener.sent(entry);
  }

  /** Records that all operations are on their way, those that were not sent yet over the transport of the last connection. */
  markAllSent(): void {
    this.#arrange();
    for (const entry of this.#queue) this.#markSent(entry);
    for (const entry of [...this.#queue]) this.listener.sent(entry);
  }

  /** The operations that may go out now. It marks them as sent. */
  #takeSendable(): QueuedOperation[] {
    this.#arrange();
    const room = { socket: this.#kind === 'socket' && !this.#pause ? WINDOW : 0, events: REQUESTS_MAX };
    /** By post: 1 while all its operations so far are on their way over the socket, so that others may follow them, else 2. */
    const ahead = new Map<string, number>();
    return this.#queue.filter((entry) => {
      const { post } = entry;
      const kind = entry.sentOver ?? this.#kind;
      const before = ahead.get(post) ?? 0;
      const isHeld = this.#isFrameDue && entry.rank > 1;
      const limit = kind === 'socket' ? 1 : 0;
      const isTaken = !entry.isInFlight && room[kind] > 0 && !isHeld && before <= limit;
      if (isTaken) this.#markSent(entry);
      entry.isInFlight ||= isTaken;
      if (entry.isInFlight) room[kind]--;
      // An operation that was sent before keeps its place: the socket waits for it.
      else if (limit && entry.sentOver) room.socket = 0;
      ahead.set(post, limit && entry.isInFlight ? Math.max(before, 1) : 2);
      return isTaken;
    });
  }

  /** Moves what was not sent yet behind the rest, posts with a toggle among it first. */
  #arrange(): void {
    const toggles = this.#queue.filter(({ value, sentOver }) => !sentOver && typeof value === 'boolean');
    const urgent = new Set(toggles.map(({ post }) => post));
    for (const entry of this.#queue) entry.rank = entry.sentOver ? 0 : urgent.has(entry.post) ? 1 : 2;
    this.#queue.sort((a, b) => a.rank - b.rank);
  }

  #markSent(entry: QueuedOperation): void {
    if (entry.sentOver) return;
    entry.seq = ++this.#lastSeq;
    entry.sentOver = this.#kind;
    entry.sentAtMs = this.clock.nowMs();
  }

  /** @param answer undefined if the request was lost */
  #handleAnswer(connection: TransportConnection, entry: QueuedOperation, answer?: Acknowledgement | Failure): void {
    // Another connection has replaced this one, or the operation was answered already: ignore a late answer.
    if (connection !== this.#connection || !this.#queue.includes(entry)) return;
    if (answer?.ok) {
      this.#remove(entry);
      this.listener.acknowledged(entry, answer);
      entry.resolve();
    } else if (answer && !answer.error.retryable) {
      this.#reject(entry, LiveCountsError.from(answer.error));
    } else {
      return this.#retryLater(connection, entry, answer?.error.retryAfterMs ?? RETRY_MS);
    }
    this.send();
  }

  #remove(entry: QueuedOperation): void {
    const at = this.#queue.indexOf(entry);
    if (at >= 0) this.#queue.splice(at, 1);
  }

  #reject(entry: QueuedOperation, error: LiveCountsError): void {
    this.#remove(entry);
    this.listener.refused(entry);
    entry.reject(error);
  }

  /** Whether no gateway recognises a retry of this operation any more. */
  #isOutdated({ sentOver, sentAtMs, isInFlight }: QueuedOperation): boolean {
    const isStranded = sentOver === 'socket' && this.#kind === 'events' && !this.#pause;
    return !!sentOver && !isInFlight && (isStranded || this.clock.nowMs() - sentAtMs > RECOGNISED_MS);
  }

  /**
   * The outcome of this operation stays unknown. A toggle is set again, unless a later one of its post was sent: that one may
   * have set it otherwise already.
   */
  #giveUp(entry: QueuedOperation): void {
    const toggles = this.#queue.filter(
      ({ post, value, sentOver }) => sentOver && post === entry.post && typeof value === 'boolean',
    );
    if (toggles.at(-1) === entry) entry.sentOver = undefined;
    else
      this.#reject(
        entry,
        new LiveCountsError('OUTCOME_UNKNOWN', 'the acknowledgement was lost: this may have been counted'),
      );
  }

  #retryLater(connection: TransportConnection, entry: QueuedOperation, ms: number): void {
    if (entry.sentOver === 'socket') return this.#pauseFor(ms);
    this.clock.after(ms, () => {
      if (connection !== this.#connection) return;
      entry.isInFlight = false;
      this.send();
    });
  }

  /** Then everything over the socket is sent again: the gateway rejects also what came behind a rejected operation. */
  #pauseFor(ms: number): void {
    this.#pause ??= this.clock.after(ms, () => {
      this.#pause = undefined;
      for (const entry of this.#queue) if (entry.sentOver === 'socket') entry.isInFlight = false;
      this.send();
    });
  }
}

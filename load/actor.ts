import type { Connection, ConnectionUser, WireError } from './connection.js';
import type { Ledger, LedgerEntry } from './ledger.js';
import type { Meter } from './meter.js';
import type { Random } from './random.js';
import type { Screen } from './screen.js';

interface OperationAnswer {
  readonly ok: boolean;
  readonly duplicate?: boolean;
  readonly counts?: { readonly e: string; readonly v: number };
  readonly error?: WireError;
}

/** What all actors of a thread share. */
export interface ThreadContext {
  /** By their number: the ids on the wire. */
  readonly posts: readonly string[];
  /** Of the posts that a viewer in this thread reads every frame of. */
  readonly screens: ReadonlyMap<string, Screen>;
  readonly ledger: Ledger;
  readonly meter: Meter;
  readonly random: Random;
}

/** Posts that an actor likes, at most: who would like 10,000? It bounds the ledger. */
export const LIKED_MAX = 100;
/** Operations of a connection that wait. What is due beyond them is left out, and the verdict says so. */
const WAITING_MAX = 1_000;
/** After a refusal that does not say how long to wait. */
const RETRY_MS = 200;
/** How gateways begin an answer as a rule. Others are read in full. */
const OK = '[{"ok":true,"applied":true,"duplicate":false,';

/**
 * A connection that likes, unlikes and views posts, with one session for its life. It sends when an operation is due,
 * whatever is still unanswered; after a refusal it waits as long as it was told to; what is not acknowledged it sends
 * again, in the order of `seq`, until it is.
 */
export class Actor implements ConnectionUser {
  readonly #waiting = new Map<number, LedgerEntry>();
  /** What each like will be when all that waits is done, by its place among the actor's posts. */
  readonly #on: Uint8Array;
  #seq = 0;
  #isConnected = false;
  #pausedUntilMs = 0;
  #pause: NodeJS.Timeout | null = null;
  connection: Connection | null = null;

  constructor(
    /** The first of the posts that it likes. */
    private readonly firstPost: number,
    /** The first of its likes in the ledger. */
    private readonly firstLike: number,
    private readonly stage: ThreadContext,
    private readonly ready: () => void,
  ) {
    this.#on = new Uint8Array(Math.min(LIKED_MAX, stage.posts.length));
  }

  get waiting(): Iterable<LedgerEntry> {
    return this.#waiting.values();
  }

  get isIdle(): boolean {
    return this.#waiting.size === 0;
  }

  act(metric: 'likes' | 'views', dueMs: number): void {
    const { meter, random, posts } = this.stage;
    if (this.#waiting.size >= WAITING_MAX) {
      meter.shed += 1;
      return;
    }
    const operation = metric === 'views' ? this.#view(random.below(posts.length), dueMs) : this.#toggle(dueMs);
    this.#waiting.set(operation.seq, operation);
    if (this.#isConnected && this.#pause === null) this.#send(operation);
  }

  connected(): void {
    this.#isConnected = true;
    this.#resend();
    this.ready();
  }

  disconnected(): void {
    this.#isConnected = false;
    for (const operation of this.#waiting.values()) operation.isSent = false;
  }

  counts(): void {
    // It watches nothing.
  }

  answered(id: number, packet: Buffer, from: number): void {
    const operation = this.#waiting.get(id);
    if (operation === undefined) return;
    const screen = this.stage.screens.get(this.stage.posts[operation.post]!);
    if (screen === undefined && packet.toString('latin1', from, from + OK.length) === OK)
      return this.#acknowledged(operation);
    const [answer] = JSON.parse(packet.toString('utf8', from)) as [OperationAnswer];
    if (!answer.ok) return this.#refused(operation, answer.error!);
    this.#acknowledged(operation);
    if (answer.duplicate === true) this.stage.meter.duplicates += 1;
    // A retry is answered with counts of now, not with those that it made.
    else screen?.acknowledged(answer.counts!.e, answer.counts!.v, operation.dueMs);
  }

  #view(post: number, dueMs: number): LedgerEntry {
    return { seq: ++this.#seq, event: 'view', post, like: 0, dueMs, isSent: false, wasSent: false };
  }

  #toggle(dueMs: number): LedgerEntry {
    const place = this.stage.random.below(this.#on.length);
    const on = 1 - this.#on[place]!;
    this.#on[place] = on;
    const post = (this.firstPost + place) % this.stage.posts.length;
    const event = on === 1 ? 'like' : 'unlike';
    return { seq: ++this.#seq, event, post, like: this.firstLike + place, dueMs, isSent: false, wasSent: false };
  }

  #send(operation: LedgerEntry): void {
    const { seq, event, post } = operation;
    operation.isSent = operation.wasSent = true;
    this.connection?.send(`42${seq}["${event}",{"post":"${this.stage.posts[post]!}","seq":${seq}}]`);
  }

  /** A Map keeps the order in which operations were added, which is that of `seq`. */
  #resend(): void {
    if (!this.#isConnected || this.#pause !== null) return;
    for (const operation of this.#waiting.values()) if (!operation.isSent) this.#send(operation);
  }

  #acknowledged(operation: LedgerEntry): void {
    this.#waiting.delete(operation.seq);
    this.stage.ledger.acknowledge(operation);
    this.stage.meter.recordAcknowledgement(performance.now() - operation.dueMs);
  }

  #refused(operation: LedgerEntry, { code, message, retryable, retryAfterMs }: WireError): void {
    this.stage.meter.countError(code);
    // All that it asks for is right, so something else is wrong: tokens, for instance.
    if (!retryable) return this.stage.meter.fatal(`the gateway refuses to ${operation.event}: ${message}`);
    operation.isSent = false;
    this.#pausedUntilMs = Math.max(this.#pausedUntilMs, performance.now() + (retryAfterMs ?? RETRY_MS));
    this.#pause ??= this.#wait();
  }

  #wait(): NodeJS.Timeout {
    return setTimeout(() => {
      this.#pause = performance.now() < this.#pausedUntilMs ? this.#wait() : null;
      this.#resend();
    }, this.#pausedUntilMs - performance.now());
  }
}

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

/** Shared by all actors of a thread. */
export interface ThreadContext {
  /** Ids on the wire, indexed by the number of the post. */
  readonly posts: readonly string[];
  /** Keyed by id, for the posts of which a viewer in this thread reads every frame. */
  readonly screens: ReadonlyMap<string, Screen>;
  readonly ledger: Ledger;
  readonly meter: Meter;
  readonly random: Random;
}

/** Posts that an actor likes at most. It bounds the ledger; no user likes 10,000 posts. */
export const LIKED_MAX = 100;
/** Unacknowledged operations of a connection. Operations due beyond them are shed, and the verdict reports it. */
const UNACKNOWLEDGED_MAX = 1_000;
/** The wait after a retryable error without `retryAfterMs`. */
const RETRY_MS = 200;
/** The usual beginning of an acknowledgement, which need not be parsed. */
const OK = '[{"ok":true,"applied":true,"duplicate":false,';

/**
 * A connection that likes, unlikes and views posts, with one session for its lifetime. It sends each operation when it is
 * due, even if earlier ones are not acknowledged yet. After a retryable error it waits for `retryAfterMs`, then resends
 * all unacknowledged operations in the order of `seq`.
 */
export class Actor implements ConnectionUser {
  readonly #unacknowledged = new Map<number, LedgerEntry>();
  /** State of each like after all sent operations, indexed by the actor's posts. */
  readonly #on: Uint8Array;
  #seq = 0;
  #isConnected = false;
  #pausedUntilMs = 0;
  #pause: NodeJS.Timeout | null = null;
  connection: Connection | null = null;

  constructor(
    /** Number of the first post that it likes. */
    private readonly firstPost: number,
    /** Index of its first like in the ledger. */
    private readonly firstLike: number,
    private readonly context: ThreadContext,
    private readonly onReady: () => void,
  ) {
    this.#on = new Uint8Array(Math.min(LIKED_MAX, context.posts.length));
  }

  get unacknowledged(): Iterable<LedgerEntry> {
    return this.#unacknowledged.values();
  }

  get isIdle(): boolean {
    return this.#unacknowledged.size === 0;
  }

  act(metric: 'likes' | 'views', dueMs: number): void {
    const { meter, random, posts } = this.context;
    if (this.#unacknowledged.size >= UNACKNOWLEDGED_MAX) {
      meter.shed += 1;
      return;
    }
    const operation = metric === 'views' ? this.#view(random.below(posts.length), dueMs) : this.#toggle(dueMs);
    this.#unacknowledged.set(operation.seq, operation);
    if (this.#isConnected && this.#pause === null) this.#send(operation);
  }

  connected(): void {
    this.#isConnected = true;
    this.#resend();
    this.onReady();
  }

  disconnected(): void {
    this.#isConnected = false;
    for (const operation of this.#unacknowledged.values()) operation.isSent = false;
  }

  counts(): void {
    // An actor watches no posts.
  }

  answered(id: number, packet: Buffer, from: number): void {
    const operation = this.#unacknowledged.get(id);
    if (operation === undefined) return;
    const screen = this.context.screens.get(this.context.posts[operation.post]!);
    if (screen === undefined && packet.toString('latin1', from, from + OK.length) === OK)
      return this.#acknowledge(operation);
    const [answer] = JSON.parse(packet.toString('utf8', from)) as [OperationAnswer];
    if (!answer.ok) return this.#handleError(operation, answer.error!);
    this.#acknowledge(operation);
    if (answer.duplicate === true) this.context.meter.duplicates += 1;
    // The acknowledgement of a duplicate has the current version, not that of the operation.
    else screen?.acknowledged(answer.counts!.e, answer.counts!.v, operation.dueMs);
  }

  #view(post: number, dueMs: number): LedgerEntry {
    return { seq: ++this.#seq, event: 'view', post, like: 0, dueMs, isSent: false, wasSent: false };
  }

  #toggle(dueMs: number): LedgerEntry {
    const index = this.context.random.below(this.#on.length);
    const on = 1 - this.#on[index]!;
    this.#on[index] = on;
    const post = (this.firstPost + index) % this.context.posts.length;
    const event = on === 1 ? 'like' : 'unlike';
    return { seq: ++this.#seq, event, post, like: this.firstLike + index, dueMs, isSent: false, wasSent: false };
  }

  #send(operation: LedgerEntry): void {
    const { seq, event, post } = operation;
    operation.isSent = operation.wasSent = true;
    this.connection?.send(`42${seq}["${event}",{"post":"${this.context.posts[post]!}","seq":${seq}}]`);
  }

  /** A Map iterates in insertion order, which is that of `seq`. */
  #resend(): void {
    if (!this.#isConnected || this.#pause !== null) return;
    for (const operation of this.#unacknowledged.values()) if (!operation.isSent) this.#send(operation);
  }

  #acknowledge(operation: LedgerEntry): void {
    this.#unacknowledged.delete(operation.seq);
    this.context.ledger.acknowledge(operation);
    this.context.meter.recordAcknowledgement(performance.now() - operation.dueMs);
  }

  #handleError(operation: LedgerEntry, { code, message, retryable, retryAfterMs }: WireError): void {
    this.context.meter.countError(code);
    // The operations are valid, so the setup is wrong: tokens, for example.
    if (!retryable) return this.context.meter.fatal(`the gateway rejects ${operation.event}: ${message}`);
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

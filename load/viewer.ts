import type { Connection, ConnectionUser, WireError } from './connection.js';
import type { Totals } from './ledger.js';
import type { Meter } from './meter.js';
import type { Screen } from './screen.js';

interface Update {
  readonly post: string;
  readonly e: string;
  readonly v: number;
  readonly likes: number;
  readonly views: number;
  readonly d?: Partial<Totals>;
}

type SubscribeAnswer =
  | {
      readonly ok: true;
      readonly counts: readonly Update[];
      readonly rejected?: readonly { readonly error: WireError }[];
    }
  | { readonly ok: false; readonly error: WireError };

/** The counts that a viewer shows for a post, and the sum of all `d`. */
interface Shown {
  e: string;
  v: number;
  likes: number;
  views: number;
  readonly sum: { likes: number; views: number };
}

/** This many ids of 64 characters stay well within the 16 KiB of a message. */
const POSTS_PER_SUBSCRIBE = 100;
/** Length of the prefix `42` in `42["counts",[…]]`. */
const PACKET_TYPE_LENGTH = 2;
const RETRY_MS = 200;

/**
 * A connection that watches posts. With one post it keeps the last frame unparsed and reads it at the end, which costs
 * next to nothing. With several posts it reads each frame, because a frame has only the changed posts. A viewer that has
 * `screens` checks each frame, too.
 */
export class Viewer implements ConnectionUser {
  readonly #shown = new Map<string, Shown>();
  #last: Buffer | null = null;
  #isConnected = false;
  readonly #subscribing = new Set<number>();
  /** True if `d` did not add up to the totals in some frame. */
  isAdrift = false;
  /** True if some frame had an older version than one before it. */
  wentBackwards = false;
  connection: Connection | null = null;

  constructor(
    readonly posts: readonly string[],
    /** Screens for some of its posts; null for a viewer whose frames are not checked. */
    private readonly screens: ReadonlyMap<string, Screen> | null,
    private readonly meter: Meter,
    /** Called when it has its snapshots; again after each reconnect. */
    private readonly onReady: () => void,
  ) {}

  /** Whether each of its frames is checked. */
  get isRead(): boolean {
    return this.screens !== null;
  }

  connected(): void {
    this.#isConnected = true;
    for (let from = 0; from < this.posts.length; from += POSTS_PER_SUBSCRIBE) this.#subscribe(from);
  }

  disconnected(): void {
    this.#isConnected = false;
    this.#subscribing.clear();
    this.#shown.clear();
    this.#last = null;
  }

  counts(frame: Buffer): void {
    this.meter.frames += 1;
    if (this.screens === null && this.posts.length === 1) this.#last = frame;
    else this.#read(frame);
  }

  answered(id: number, packet: Buffer, from: number): void {
    const [answer] = JSON.parse(packet.toString('utf8', from)) as [SubscribeAnswer];
    const refused = answer.ok ? answer.rejected?.[0]?.error : answer.error;
    if (refused !== undefined) {
      this.meter.countError(refused.code);
      if (!refused.retryable) return this.meter.fatal(`the gateway rejects subscribe: ${refused.message}`);
      setTimeout(() => this.#isConnected && this.#subscribe(id), refused.retryAfterMs ?? RETRY_MS);
    }
    if (!answer.ok) return;
    for (const update of answer.counts) this.#snapshot(update);
    if (refused !== undefined) return;
    this.#subscribing.delete(id);
    if (this.#subscribing.size === 0) this.onReady();
  }

  /** @returns a post for which it shows other totals, or null */
  findStalePost(totals: ReadonlyMap<string, Totals>): string | null {
    if (this.#last !== null) this.#read(this.#last);
    this.#last = null;
    for (const post of this.posts) {
      const shown = this.#shown.get(post);
      const { likes, views } = totals.get(post)!;
      if (shown?.likes !== likes || shown.views !== views) return post;
    }
    return null;
  }

  /** Subscribes the posts from this index on, with the index as acknowledgement id. */
  #subscribe(from: number): void {
    this.#subscribing.add(from);
    const posts = this.posts.slice(from, from + POSTS_PER_SUBSCRIBE);
    this.connection?.send(`42${from}${JSON.stringify(['subscribe', { posts }])}`);
  }

  #snapshot({ post, e, v, likes, views }: Update): void {
    this.#shown.set(post, { e, v, likes, views, sum: { likes, views } });
    this.screens?.get(post)?.reset(e, v);
  }

  #read(frame: Buffer): void {
    const nowMs = performance.now();
    const [, updates] = JSON.parse(frame.toString('utf8', PACKET_TYPE_LENGTH)) as [string, Update[]];
    for (const update of updates) {
      const shown = this.#shown.get(update.post);
      if (shown === undefined || update.d === undefined) this.#snapshot(update);
      else this.#update(shown, update, update.d, nowMs);
    }
  }

  #update(shown: Shown, { post, e, v, likes, views }: Update, d: Partial<Totals>, nowMs: number): void {
    if (e === shown.e && v < shown.v) this.wentBackwards = true;
    Object.assign(shown, { e, v, likes, views });
    if (this.screens === null) return;
    shown.sum.likes += d.likes ?? 0;
    shown.sum.views += d.views ?? 0;
    if (shown.sum.likes !== likes || shown.sum.views !== views) this.isAdrift = true;
    this.screens.get(post)?.frame(e, v, nowMs);
  }
}

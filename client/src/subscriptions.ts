import type { ErrorBody } from '../../src/protocol/errors.js';
import type { MineEvent, Update } from '../../src/protocol/messages.js';
import type { Clock } from './environment.js';
import { LiveCountsError } from './errors.js';
import type { MetricRules } from './metric-rules.js';
import { type Change, PostCounts } from './post-counts.js';
import type { TransportConnection, KnownVersion, Subscription } from './transport.js';
import { forget, isDue, type Subscriber, type WatchedPost, wantsPresence } from './watched-post.js';

/** Ids and versions of this many posts stay below the 16 KiB of a message, whatever the length of the ids. */
const POSTS_PER_MESSAGE = 80;
/** A post is watched this long after its last subscriber left, because a user who scrolls often comes back soon. */
export const LINGER_MS = 2_000;
/** The wait after a retryable error without `retryAfterMs`. */
const RETRY_MS = 1_000;
/** Counts are called stale when the gateway has not answered for this long: a healthy one does, so pages do not flicker. */
const STALE_MS = 300;

/**
 * The posts that are watched or have operations. Subscriptions made within an animation frame go out in one message. On a
 * new connection all posts are subscribed with their versions, so the gateway sends only those that have changed.
 */
export class Subscriptions {
  readonly #posts = new Map<string, WatchedPost>();
  readonly #toUnsubscribe = new Set<string>();
  #connection: TransportConnection | undefined;
  #isFlushScheduled = false;
  #isShown = true;
  /** Whether the connection is being checked, and no answer has come for STALE_MS. */
  #isStale = false;

  constructor(
    private readonly clock: Clock,
    private readonly rules: MetricRules,
    /** Called when `isCurrent` may have changed. */
    private readonly progressed: () => void,
    /** Called when the gateway accepted a subscription. */
    private readonly proven: () => void,
  ) {}

  /** Whether the gateway has answered the subscription of every subscribed post on this connection. */
  get isCurrent(): boolean {
    if (!this.#connection || this.#isStale) return false;
    for (const { isAnswered, subscribers } of this.#posts.values())
      if (!isAnswered && subscribers.size > 0) return false;
    return true;
  }

  /** Number of posts with a subscriber; lingering posts have none. */
  get size(): number {
    let count = 0;
    for (const { subscribers } of this.#posts.values()) if (subscribers.size > 0) count++;
    return count;
  }

  add(post: string, subscriber: Subscriber): () => void {
    const watched = this.#ensure(post);
    watched.linger?.cancel();
    watched.subscribers.add(subscriber);
    const { lastEmitted: last } = watched.counts;
    if (last) emitTo(subscriber, last);
    const { refusal } = watched;
    if (refusal) rethrowLater(() => subscriber.refused?.(refusal));
    if (isDue(watched, this.#isShown)) this.#scheduleFlush();
    this.progressed();
    return () => {
      if (!watched.subscribers.delete(subscriber)) return;
      if (isDue(watched, this.#isShown)) this.#scheduleFlush();
      if (watched.subscribers.size > 0) return;
      watched.linger = this.clock.after(LINGER_MS, () => this.#leave(post, watched));
      this.progressed();
    };
  }

  /** The page is shown or hidden. */
  show(isShown: boolean): void {
    this.#isShown = isShown;
    this.#scheduleFlush();
  }

  /** Applies an operation of this client to the counts of a post, and emits the change to its subscribers. */
  act(post: string, action: (counts: PostCounts) => void, source: Change['source'] = 'local'): void {
    const watched = this.#ensure(post);
    action(watched.counts);
    this.#emitChange(watched, source);
    this.#dropIfUnused(post, watched);
  }

  applyFrame(updates: readonly Update[]): void {
    for (const update of updates) {
      const watched = this.#posts.get(update.post);
      if (!watched) continue;
      watched.counts.applyFrame(update);
      this.#emitChange(watched, 'remote');
    }
  }

  applyToggle({ post, metric, on }: MineEvent): void {
    const watched = this.#posts.get(post);
    if (!watched) return;
    watched.counts.applyToggle(metric, on);
    this.#emitChange(watched, 'remote');
  }

  /** The first message over the next connection. */
  get first(): Subscription | undefined {
    const [first] = this.#due();
    return first && [[...first.requested.keys()], first.present];
  }

  /** Subscribes a post again, because a connection that looks open may be lost. Ends with the answer, or the connection. */
  async check(): Promise<void> {
    const post = [...this.#posts].find(([, { requested, refusal }]) => requested !== undefined && !refusal);
    if (!this.#connection || !post) return;
    const timer = this.clock.after(STALE_MS, () => this.#setStale(true));
    await this.#subscribe(this.#connection, new Map([post]), post[1].requested!);
    timer.cancel();
    this.#setStale(false);
  }

  /** Subscribes all posts over a new connection, which has none of the previous one's subscriptions. */
  attach(connection: TransportConnection): void {
    this.detach();
    this.#connection = connection;
    this.#flush();
  }

  detach(): void {
    this.#connection = undefined;
    this.#toUnsubscribe.clear();
    for (const [post, watched] of this.#posts) {
      forget(watched);
      this.#dropIfUnused(post, watched);
    }
  }

  clear(): void {
    for (const { linger, subscribers } of this.#posts.values()) {
      linger?.cancel();
      subscribers.clear();
    }
    this.#posts.clear();
    this.#connection = undefined;
  }

  #setStale(isStale: boolean): void {
    this.#isStale = isStale;
    this.progressed();
  }

  #ensure(post: string): WatchedPost {
    let watched = this.#posts.get(post);
    if (!watched) {
      const fresh = { requested: undefined, isAnswered: false, linger: undefined, refusal: undefined };
      watched = { counts: new PostCounts(this.rules), subscribers: new Set(), ...fresh };
      this.#posts.set(post, watched);
    }
    return watched;
  }

  #leave(post: string, watched: WatchedPost): void {
    if (watched.requested !== undefined || watched.isAnswered) this.#toUnsubscribe.add(post);
    forget(watched);
    this.#dropIfUnused(post, watched);
    if (this.#toUnsubscribe.size > 0) this.#scheduleFlush();
  }

  #dropIfUnused(post: string, watched: WatchedPost): void {
    const { counts, subscribers, requested } = watched;
    const isUnused = counts.isIdle && subscribers.size === 0 && requested === undefined;
    if (isUnused && this.#posts.get(post) === watched) this.#posts.delete(post);
  }

  #scheduleFlush(): void {
    if (this.#isFlushScheduled) return;
    this.#isFlushScheduled = true;
    this.clock.frame(() => {
      this.#isFlushScheduled = false;
      this.#flush();
    });
  }

  #flush(): void {
    const connection = this.#connection;
    if (!connection) return;
    const left = [...this.#toUnsubscribe].filter((post) => !this.#posts.get(post)?.subscribers.size);
    this.#toUnsubscribe.clear();
    for (const posts of splitByMessage(left)) connection.unsubscribe(posts);
    if (left.length > 0) this.#retryOverLimit();
    for (const { requested, present } of this.#due()) void this.#subscribe(connection, requested, present);
    this.progressed();
  }

  /** The posts that are due, a message each. */
  #due(): { requested: ReadonlyMap<string, WatchedPost>; present: boolean }[] {
    return [true, false].flatMap((present) => {
      const due = [...this.#posts].filter(
        ([, watched]) => isDue(watched, this.#isShown) && wantsPresence(watched, this.#isShown) === present,
      );
      return splitByMessage(due).map((some) => ({ requested: new Map(some), present }));
    });
  }

  async #subscribe(
    connection: TransportConnection,
    requested: ReadonlyMap<string, WatchedPost>,
    present: boolean,
  ): Promise<void> {
    const known = new Map<string, KnownVersion>();
    for (const [post, watched] of requested) {
      watched.requested = present;
      if (watched.counts.knownVersion) known.set(post, watched.counts.knownVersion);
    }
    let answer: Awaited<ReturnType<TransportConnection['subscribe']>>;
    try {
      // Awaited without a step between, because frames that follow the answer are delivered right after it.
      answer = await connection.subscribe([...requested.keys()], known, present);
    } catch {
      // The connection ended before the answer: the posts are subscribed again over the next one.
      return;
    }
    if (connection !== this.#connection) return;
    if (!answer.ok) {
      this.#reject([...requested.values()], answer.error);
    } else {
      this.proven();
      this.rules.receive(answer);
      for (const watched of requested.values()) if (watched.requested !== undefined) watched.isAnswered = true;
      for (const { post, error } of answer.rejected ?? []) {
        const watched = requested.get(post);
        if (watched) this.#reject([watched], error);
      }
      for (const snapshot of answer.counts) {
        const watched = this.#posts.get(snapshot.post);
        if (!watched) continue;
        watched.counts.applySnapshot(snapshot);
        this.#emitChange(watched, 'snapshot');
      }
    }
    this.progressed();
  }

  #reject(rejected: readonly WatchedPost[], error: ErrorBody): void {
    if (error.retryable) {
      const connection = this.#connection;
      this.clock.after(error.retryAfterMs ?? RETRY_MS, () => {
        if (connection !== this.#connection) return;
        for (const watched of rejected) watched.requested = undefined;
        this.#scheduleFlush();
      });
      return;
    }
    const refusal = LiveCountsError.from(error);
    for (const watched of rejected) {
      watched.isAnswered = true;
      watched.refusal = refusal;
      for (const { refused } of watched.subscribers) rethrowLater(() => refused?.(refusal));
    }
  }

  /** Subscribes posts again that were over the limit, because others were left. */
  #retryOverLimit(): void {
    for (const watched of this.#posts.values()) {
      if (watched.refusal?.code !== 'TOO_MANY_POSTS') continue;
      forget(watched);
      this.#scheduleFlush();
    }
  }

  #emitChange({ counts, subscribers }: WatchedPost, source: Change['source']): void {
    const change = counts.takeChange(source);
    if (change) for (const subscriber of subscribers) emitTo(subscriber, change);
  }
}

function emitTo({ changed }: Subscriber, change: Change): void {
  rethrowLater(() => changed(change));
}

/** Reports the error of a listener as an uncaught one, without stopping the caller. */
export function rethrowLater(listener: () => void): void {
  try {
    listener();
  } catch (error) {
    queueMicrotask(() => {
      throw error;
    });
  }
}

function splitByMessage<T>(list: readonly T[]): T[][] {
  const messages: T[][] = [];
  for (let from = 0; from < list.length; from += POSTS_PER_MESSAGE) {
    messages.push(list.slice(from, from + POSTS_PER_MESSAGE));
  }
  return messages;
}

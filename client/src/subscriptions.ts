import type { ErrorBody } from '../../src/protocol/errors.js';
import type { MineEvent, Update } from '../../src/protocol/messages.js';
import type { Clock, Timer } from './environment.js';
import { LiveCountsError } from './errors.js';
import { type Change, PostCounts } from './post-counts.js';
import type { TransportConnection, KnownVersion } from './transport.js';

/** Ids and versions of this many posts stay below the 16 KiB of a message, whatever their length. */
const POSTS_PER_MESSAGE = 80;
/** How long a post is watched after its last subscriber left: who scrolls or changes the page comes back soon. */
export const LINGER_MS = 2_000;
/** Where a retryable refusal names no time. */
const RETRY_MS = 1_000;

interface Subscriber {
  readonly changed: (change: Change) => void;
  readonly refused: ((error: LiveCountsError) => void) | undefined;
}

interface WatchedPost {
  readonly counts: PostCounts;
  readonly subscribers: Set<Subscriber>;
  /** What became of it on this connection. */
  phase: 'unasked' | 'asked' | 'answered';
  linger: Timer | undefined;
  /** Why the gateway denies it on this connection. */
  refusal: LiveCountsError | undefined;
}

/**
 * The posts that are watched or acted on. What is subscribed within a frame is asked for together, and so it is on every
 * new connection, with the versions that are known, so that the gateway sends only what has changed meanwhile.
 */
export class Subscriptions {
  readonly #posts = new Map<string, WatchedPost>();
  readonly #left = new Set<string>();
  #connection: TransportConnection | undefined;
  #due = false;

  constructor(
    private readonly clock: Clock,
    /** Called when `isCurrent` may have changed. */
    private readonly progressed: () => void,
    /** Called when the gateway accepted what was asked. */
    private readonly proven: () => void,
  ) {}

  /** Whether every subscribed post has been answered on this connection. */
  get isCurrent(): boolean {
    if (!this.#connection) return false;
    for (const { phase, subscribers } of this.#posts.values())
      if (phase !== 'answered' && subscribers.size > 0) return false;
    return true;
  }

  /** How many posts have a subscriber; those that were just left have none. */
  get size(): number {
    let count = 0;
    for (const { subscribers } of this.#posts.values()) if (subscribers.size > 0) count++;
    return count;
  }

  add(post: string, subscriber: Subscriber): () => void {
    const watched = this.#ensure(post);
    watched.linger?.cancel();
    watched.subscribers.add(subscriber);
    const { lastEmitted: told } = watched.counts;
    if (told) call(subscriber, told);
    const { refusal } = watched;
    if (refusal) rethrowLater(() => subscriber.refused?.(refusal));
    if (watched.phase === 'unasked') this.#soon();
    this.progressed();
    return () => {
      if (!watched.subscribers.delete(subscriber) || watched.subscribers.size > 0) return;
      watched.linger = this.clock.after(LINGER_MS, () => this.#leave(post, watched));
      this.progressed();
    };
  }

  /** What this client does to a post: applied to its counts, and told to its subscribers. */
  act(post: string, action: (counts: PostCounts) => void): void {
    const watched = this.#ensure(post);
    action(watched.counts);
    this.#tell(watched, 'local');
    this.#dropIfUnused(post, watched);
  }

  applyFrame(updates: readonly Update[]): void {
    for (const update of updates) {
      const watched = this.#posts.get(update.post);
      if (!watched) continue;
      watched.counts.applyFrame(update);
      this.#tell(watched, 'remote');
    }
  }

  applyToggle({ post, metric, on }: MineEvent): void {
    const watched = this.#posts.get(post);
    if (!watched) return;
    watched.counts.applyToggle(metric, on);
    this.#tell(watched, 'remote');
  }

  /** Another connection: it knows nothing of what was asked over the one before. */
  attach(connection: TransportConnection): void {
    this.detach();
    this.#connection = connection;
    this.#flush();
  }

  detach(): void {
    this.#connection = undefined;
    this.#left.clear();
    for (const [post, watched] of this.#posts) {
      this.#forget(watched);
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

  #ensure(post: string): WatchedPost {
    let watched = this.#posts.get(post);
    if (!watched) {
      const fresh = { phase: 'unasked', linger: undefined, refusal: undefined } as const;
      watched = { counts: new PostCounts(), subscribers: new Set(), ...fresh };
      this.#posts.set(post, watched);
    }
    return watched;
  }

  #leave(post: string, watched: WatchedPost): void {
    if (watched.phase !== 'unasked') this.#left.add(post);
    this.#forget(watched);
    this.#dropIfUnused(post, watched);
    if (this.#left.size > 0) this.#soon();
  }

  #dropIfUnused(post: string, watched: WatchedPost): void {
    const { counts, subscribers, phase } = watched;
    const isUnused = counts.isIdle && subscribers.size === 0 && phase === 'unasked';
    if (isUnused && this.#posts.get(post) === watched) this.#posts.delete(post);
  }

  #soon(): void {
    if (this.#due) return;
    this.#due = true;
    this.clock.frame(() => {
      this.#due = false;
      this.#flush();
    });
  }

  #flush(): void {
    const connection = this.#connection;
    if (!connection) return;
    const wanted = [...this.#posts].filter(([, { phase, subscribers }]) => phase === 'unasked' && subscribers.size > 0);
    const left = [...this.#left].filter((post) => !this.#posts.get(post)?.subscribers.size);
    this.#left.clear();
    for (const posts of chunks(left)) connection.unsubscribe(posts);
    if (left.length > 0) this.#retryThoseTooMany();
    for (const some of chunks(wanted)) void this.#ask(connection, new Map(some));
    this.progressed();
  }

  async #ask(connection: TransportConnection, asked: ReadonlyMap<string, WatchedPost>): Promise<void> {
    const known = new Map<string, KnownVersion>();
    for (const [post, watched] of asked) {
      watched.phase = 'asked';
      if (watched.counts.knownVersion) known.set(post, watched.counts.knownVersion);
    }
    const answer = await connection.subscribe([...asked.keys()], known).catch(() => undefined);
    // Without an answer the connection has ended, and they are asked for again on the next.
    if (!answer || connection !== this.#connection) return;
    if (!answer.ok) {
      this.#refuse([...asked.values()], answer.error);
    } else {
      this.proven();
      for (const watched of asked.values()) if (watched.phase === 'asked') watched.phase = 'answered';
      for (const { post, error } of answer.rejected ?? []) {
        const watched = asked.get(post);
        if (watched) this.#refuse([watched], error);
      }
      for (const snapshot of answer.counts) {
        const watched = this.#posts.get(snapshot.post);
        if (!watched) continue;
        watched.counts.applySnapshot(snapshot);
        this.#tell(watched, 'snapshot');
      }
    }
    this.progressed();
  }

  #refuse(asked: readonly WatchedPost[], error: ErrorBody): void {
    if (error.retryable) {
      const connection = this.#connection;
      this.clock.after(error.retryAfterMs ?? RETRY_MS, () => {
        if (connection !== this.#connection) return;
        for (const watched of asked) if (watched.phase === 'asked') watched.phase = 'unasked';
        this.#soon();
      });
      return;
    }
    const refusal = LiveCountsError.from(error);
    for (const watched of asked) {
      watched.phase = 'answered';
      watched.refusal = refusal;
      for (const { refused } of watched.subscribers) rethrowLater(() => refused?.(refusal));
    }
  }

  /** Posts were left, so there is room. */
  #retryThoseTooMany(): void {
    for (const watched of this.#posts.values()) {
      if (watched.refusal?.code !== 'TOO_MANY_POSTS') continue;
      this.#forget(watched);
      this.#soon();
    }
  }

  #forget(watched: WatchedPost): void {
    watched.phase = 'unasked';
    watched.refusal = undefined;
  }

  #tell({ counts, subscribers }: WatchedPost, source: Change['source']): void {
    const change = counts.takeChange(source);
    if (change) for (const subscriber of subscribers) call(subscriber, change);
  }
}

function call({ changed }: Subscriber, change: Change): void {
  rethrowLater(() => changed(change));
}

/** A listener's fault is its owner's to see, and nobody else's to suffer. */
export function rethrowLater(listener: () => void): void {
  try {
    listener();
  } catch (error) {
    queueMicrotask(() => {
      throw error;
    });
  }
}

function chunks<T>(list: readonly T[]): T[][] {
  const parts: T[][] = [];
  for (let from = 0; from < list.length; from += POSTS_PER_MESSAGE) {
    parts.push(list.slice(from, from + POSTS_PER_MESSAGE));
  }
  return parts;
}

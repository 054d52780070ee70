import { LiveCountsError } from './outbox.js';
import { type Subscriber, WatchedPost } from './watched-post.js';
import { type GatewaySocket, RETRY_MS, subscribe } from './wire.js';

/** Ids and versions of this many posts stay well below the 16 KiB of a message. */
const POSTS_PER_MESSAGE = 50;

/**
 * The posts that are watched, asked for again on every connection with the versions that are known, so that the gateway
 * sends only what has changed meanwhile.
 */
export class Subscriptions {
  private readonly watched = new Map<string, WatchedPost>();
  private flushDue = false;

  constructor(
    private readonly socket: GatewaySocket,
    private readonly intended: (post: string) => boolean | undefined,
    private readonly changed: () => void,
    private readonly later: (ms: number, action: () => void) => void,
  ) {
    socket.on('counts', (updates) => {
      for (const update of updates) this.get(update.post)?.take(update, 'frame');
    });
    socket.on('mine', ({ post, metric, on }) => this.get(post)?.mine(metric, on));
  }

  get current(): boolean {
    return [...this.watched.values()].every(({ phase }) => phase === 'answered');
  }

  get(post: string): WatchedPost | undefined {
    return this.watched.get(post);
  }

  add(post: string, subscriber: Subscriber): () => void {
    const watched = this.watched.get(post) ?? new WatchedPost(() => this.intended(post));
    this.watched.set(post, watched);
    watched.add(subscriber);
    this.flushSoon();
    return () => {
      watched.subscribers.delete(subscriber);
      if (watched.subscribers.size === 0 && this.watched.get(post) === watched) this.drop(post, watched);
    };
  }

  /** A new connection knows nothing of the one before. */
  renew(): void {
    for (const watched of this.watched.values()) watched.phase = 'unasked';
    this.flushSoon();
  }

  clear(): void {
    this.watched.clear();
  }

  private drop(post: string, watched: WatchedPost): void {
    this.watched.delete(post);
    if (this.socket.connected && watched.phase !== 'unasked') this.socket.emit('unsubscribe', { posts: [post] });
    this.changed();
  }

  /** Subscriptions made together go out together. */
  private flushSoon(): void {
    this.changed();
    if (this.flushDue) return;
    this.flushDue = true;
    queueMicrotask(() => {
      this.flushDue = false;
      this.flush();
    });
  }

  private flush(): void {
    if (!this.socket.connected) return;
    const unasked = [...this.watched].filter(([, { phase }]) => phase === 'unasked');
    for (let from = 0; from < unasked.length; from += POSTS_PER_MESSAGE) {
      void this.ask(new Map(unasked.slice(from, from + POSTS_PER_MESSAGE)));
    }
  }

  private async ask(asked: ReadonlyMap<string, WatchedPost>): Promise<void> {
    for (const watched of asked.values()) watched.phase = 'asked';
    const known = [...asked].flatMap(([post, { version }]) =>
      version ? [[post, [version.e, version.v] as const] as const] : [],
    );
    const payload = { posts: [...asked.keys()], known: Object.fromEntries(known) };
    const connection = this.socket.id;
    const answer = await subscribe(this.socket, payload).catch(() => undefined);
    // Lost with its connection, and asked again on the next.
    if (connection !== this.socket.id) return;
    if (answer === undefined) return this.again(asked, 0);
    if (!answer.ok && answer.error.retryable) return this.again(asked, answer.error.retryAfterMs ?? RETRY_MS);

    if (!answer.ok && asked.size > 1) {
      // One bad id refuses the whole message: the good ones must not suffer for it.
      for (const one of asked) void this.ask(new Map([one]));
      return;
    }

    for (const watched of asked.values()) watched.phase = 'answered';
    if (answer.ok) for (const update of answer.counts) this.get(update.post)?.snapshot(update);
    const refused = answer.ok ? (answer.rejected ?? []) : payload.posts.map((post) => ({ post, error: answer.error }));
    for (const { post, error } of refused) this.get(post)?.refuse(LiveCountsError.from(error));
    this.changed();
  }

  private again(asked: ReadonlyMap<string, WatchedPost>, ms: number): void {
    const connection = this.socket.id;
    this.later(ms, () => {
      if (connection !== this.socket.id) return;
      for (const watched of asked.values()) watched.phase = 'unasked';
      this.flushSoon();
    });
  }
}

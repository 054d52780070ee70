import type { Clock, Timer } from '../../common/clock.js';
import type { ShardedPubSub } from './client/sharded-pubsub.js';
import { buildCountsChannel, parseCountsChannel } from './codec/redis-keys.js';

/** How long a channel is kept when nobody watches its post: to reload a page costs no subscription. */
const LINGER_MS = 5_000;
/** Longest wait of a read for a subscription. What it misses is read again when the subscription is subscribed. */
const SUBSCRIBED_WITHIN_MS = 1_000;

interface Channel {
  readonly bucket: number;
  readonly name: string;
  /** Reads that wait until the channel is subscribed to for the first time; `null` afterwards. */
  waiting: Set<() => void> | null;
  /** Runs while nobody watches the post, and ends the subscription. */
  leaving: Timer | null;
}

/** The channels of the posts that are watched here. One channel a post, so that a gateway gets no messages about other posts. */
export class PostSubscriptions {
  readonly #posts = new Map<string, Channel>();

  constructor(
    private readonly pubSub: Pick<ShardedPubSub, 'subscribe' | 'unsubscribe' | 'subscribed'>,
    private readonly clock: Clock,
    private readonly onMessage: (post: string, message: string) => void,
    /** Called with posts about which messages may have been lost. */
    onLoss: (posts: readonly string[]) => void,
  ) {
    pubSub.subscribed.subscribe((names) => {
      const posts = names.map(parseCountsChannel).filter((post) => !this.#resolveReads(post) && this.isWatched(post));
      if (posts.length > 0) onLoss(posts);
    });
  }

  watch(post: string, bucket: number): void {
    const existing = this.#posts.get(post);
    if (existing !== undefined) {
      existing.leaving?.cancel();
      existing.leaving = null;
      return;
    }
    const name = buildCountsChannel(bucket, post);
    this.#posts.set(post, { bucket, name, waiting: new Set(), leaving: null });
    this.pubSub.subscribe(name, (message) => {
      if (this.isWatched(post)) this.onMessage(post, message.toString());
    });
  }

  unwatch(post: string): void {
    const channel = this.#posts.get(post);
    if (channel === undefined || channel.leaving !== null) return;
    channel.leaving = this.clock.after(LINGER_MS, () => {
      this.#posts.delete(post);
      this.pubSub.unsubscribe(channel.name);
    });
  }

  isWatched(post: string): boolean {
    return this.#posts.get(post)?.leaving === null;
  }

  *watchedPosts(): Iterable<string> {
    for (const [post, { leaving }] of this.#posts) if (leaving === null) yield post;
  }

  /** Resolves when the channels of those posts that are watched are subscribed to: a read after that misses no change. */
  async waitUntilSubscribed(posts: readonly string[]): Promise<void> {
    const channels = new Set(posts.map((post) => this.#posts.get(post)?.waiting).filter((waiting) => waiting != null));
    if (channels.size === 0) return;
    await new Promise<void>((resolve) => {
      let left = channels.size;
      const subscribed = (): void => {
        left -= 1;
        if (left > 0) return;
        timer.cancel();
        resolve();
      };
      const timer = this.clock.after(SUBSCRIBED_WITHIN_MS, () => {
        // Without waiting reads, `subscribed` has the post read again.
        for (const waiting of channels) waiting.delete(subscribed);
        resolve();
      });
      for (const waiting of channels) waiting.add(subscribed);
    });
  }

  close(): void {
    for (const { leaving } of this.#posts.values()) leaving?.cancel();
    this.#posts.clear();
  }

  /** Resolves the reads that wait for the post's channel. @returns whether there were any */
  #resolveReads(post: string): boolean {
    const channel = this.#posts.get(post);
    const waiting = channel?.waiting ?? new Set();
    if (channel !== undefined) channel.waiting = null;
    for (const subscribed of waiting) subscribed();
    return waiting.size > 0;
  }
}

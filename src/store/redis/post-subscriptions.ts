import type { Observable } from 'rxjs';
import type { Clock, Timer } from '../../common/clock.js';
import { buildCountsChannel, parseCountsChannel } from './codec/redis-keys.js';

/** A post that is watched again soon keeps its channel: a page that is reloaded costs no subscription. */
const LINGER_MS = 5_000;
/** Reads wait no longer for a subscription; what they miss is read again when it comes. */
const SUBSCRIBED_WITHIN_MS = 1_000;

/** Sharded channels that are kept up through reconnects. */
export interface Channels {
  subscribe(channel: string, heard: (message: Buffer) => void): void;
  unsubscribe(channel: string): void;
  /** Channels that are subscribed to from now on, for the first time or again after they were lost. */
  readonly subscribed: Observable<readonly string[]>;
}

interface Channel {
  readonly bucket: number;
  readonly name: string;
  /** Reads that wait for the first confirmation; `null` after it. */
  waiting: Set<() => void> | null;
  /** Runs while nobody watches, and ends the subscription. */
  leaving: Timer | null;
}

/** The channels of the posts that are watched here: one each, so that a gateway hears nothing of other posts. */
export class PostSubscriptions {
  readonly #posts = new Map<string, Channel>();

  constructor(
    private readonly channels: Channels,
    private readonly clock: Clock,
    private readonly heard: (post: string, message: string) => void,
    /** Told of posts whose announcements may have been missed. */
    missed: (watchedPosts: readonly string[]) => void,
  ) {
    channels.subscribed.subscribe((names) => {
      const posts = names.map(parseCountsChannel).filter((post) => !this.#awaited(post) && this.isWatched(post));
      if (posts.length > 0) missed(posts);
    });
  }

  watch(post: string, bucket: number): void {
    const known = this.#posts.get(post);
    if (known !== undefined) {
      known.leaving?.cancel();
      known.leaving = null;
      return;
    }
    const name = buildCountsChannel(bucket, post);
    this.#posts.set(post, { bucket, name, waiting: new Set(), leaving: null });
    this.channels.subscribe(name, (message) => {
      if (this.isWatched(post)) this.heard(post, message.toString());
    });
  }

  unwatch(post: string): void {
    const channel = this.#posts.get(post);
    if (channel === undefined || channel.leaving !== null) return;
    channel.leaving = this.clock.after(LINGER_MS, () => {
      this.#posts.delete(post);
      this.channels.unsubscribe(channel.name);
    });
  }

  isWatched(post: string): boolean {
    return this.#posts.get(post)?.leaving === null;
  }

  /** All posts that are watched. */
  *watchedPosts(): Iterable<string> {
    for (const [post, { leaving }] of this.#posts) if (leaving === null) yield post;
  }

  /** Resolves when those of the posts that are watched are subscribed to: what is read then misses no change. */
  async waitUntilSubscribed(posts: readonly string[]): Promise<void> {
    const channels = new Set(posts.map((post) => this.#posts.get(post)?.waiting).filter((waiting) => waiting != null));
    if (channels.size === 0) return;
    await new Promise<void>((resolve) => {
      let left = channels.size;
      const confirmed = (): void => {
        left -= 1;
        if (left > 0) return;
        timer.cancel();
        resolve();
      };
      const timer = this.clock.after(SUBSCRIBED_WITHIN_MS, () => {
        // Nobody waits any more: a confirmation tells now what was missed.
        for (const waiting of channels) waiting.delete(confirmed);
        resolve();
      });
      for (const waiting of channels) waiting.add(confirmed);
    });
  }

  close(): void {
    for (const { leaving } of this.#posts.values()) leaving?.cancel();
    this.#posts.clear();
  }

  /** Lets the reads go on that wait for the post's first confirmation. @returns whether there were any. */
  #awaited(post: string): boolean {
    const channel = this.#posts.get(post);
    const waiting = channel?.waiting ?? new Set();
    if (channel !== undefined) channel.waiting = null;
    for (const confirmed of waiting) confirmed();
    return waiting.size > 0;
  }
}

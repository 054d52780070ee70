/** Posts indexed in a bucket: 100 bytes of memory each. */
const POSTS_MAX = 2_000;

/**
 * The posts whose records hold registers, by bucket, with the newest stamp that they had when they were added, in that order, so that
 * stable registers are found without reading every post.
 */
export class RegisterIndex {
  readonly #buckets: readonly Map<string, number>[];
  /** After a start the whole table is searched for such posts. This is the last post that was searched; `null`: all were. */
  scannedUpTo: string | null = '';

  constructor(buckets: number) {
    this.#buckets = Array.from({ length: buckets }, () => new Map<string, number>());
  }

  /** @returns the post that is evicted for it, whose registers the caller moves to chunks */
  add(bucket: number, post: string, stamp: number): string | undefined {
    const posts = this.#buckets[bucket]!;
    if (posts.has(post)) return undefined;
    posts.set(post, stamp);
    if (posts.size <= POSTS_MAX) return undefined;
    const [oldest] = posts.keys();
    posts.delete(oldest!);
    return oldest;
  }

  /** Forgets the posts of a bucket, and begins the search again. */
  restart(bucket: number): void {
    this.#buckets[bucket]!.clear();
    this.scannedUpTo = '';
  }

  postsIn(bucket: number): Iterable<string> {
    return this.#buckets[bucket]!.keys();
  }

  /** Removes posts that were added with a stamp up to the stable stamp, the oldest first. @returns at most `limit` posts */
  takeUpTo(bucket: number, stableStamp: number, limit: number): string[] {
    const posts = this.#buckets[bucket]!;
    const taken: string[] = [];
    for (const [post, stamp] of posts) {
      if (stamp > stableStamp || taken.length >= limit) break;
      posts.delete(post);
      taken.push(post);
    }
    return taken;
  }
}

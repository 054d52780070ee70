/** Posts of a bucket: 100 bytes of memory each. */
const POSTS_MAX = 2_000;

/**
 * The posts whose records hold registers, by bucket, with the stamp that was the newest when they came, in that order: so those
 * that nobody needs any more are found without looking at all of them.
 */
export class RegisterIndex {
  readonly #buckets: readonly Map<string, number>[];
  /** After a start they are looked for in the whole table: up to this post that is done; `null`: up to the end. */
  scannedUpTo: string | null = '';

  constructor(buckets: number) {
    this.#buckets = Array.from({ length: buckets }, () => new Map<string, number>());
  }

  /** @returns the post that has to go for it: its registers are to stand elsewhere */
  add(bucket: number, post: string, stamp: number): string | undefined {
    const posts = this.#buckets[bucket]!;
    if (posts.has(post)) return undefined;
    posts.set(post, stamp);
    if (posts.size <= POSTS_MAX) return undefined;
    const [oldest] = posts.keys();
    posts.delete(oldest!);
    return oldest;
  }

  /** They are looked for again. */
  restart(bucket: number): void {
    this.#buckets[bucket]!.clear();
    this.scannedUpTo = '';
  }

  postsIn(bucket: number): Iterable<string> {
    return this.#buckets[bucket]!.keys();
  }

  /** Takes out the oldest of those that came with stamps up to the floor, at most `limit`. */
  takeUpTo(bucket: number, floor: number, limit: number): string[] {
    const posts = this.#buckets[bucket]!;
    const taken: string[] = [];
    for (const [post, stamp] of posts) {
      if (stamp > floor || taken.length >= limit) break;
      posts.delete(post);
      taken.push(post);
    }
    return taken;
  }
}

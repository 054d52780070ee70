import type { BucketWrite } from './sink.js';

/** Posts of one write. */
const POSTS_MAX = 5_000;
/** About a page of one bucket, which is the least that can be written. */
const POSTS_MIN = 500;
/** A write that succeeds lets the next ones grow by this, so that a sink at its limit runs into a timeout once in many writes. */
const GROWTH_POSTS = 50;

/**
 * The size of writes to one sink. One that ran into a time limit would do so again, forever: the next ones have half as many posts, and grow
 * again when they succeed (additive increase, multiplicative decrease: Chiu, Jain 1989).
 */
export class WriteSize {
  #posts = POSTS_MAX;

  /** Groups of at most this many posts, or of one write. */
  group(writes: readonly BucketWrite[]): BucketWrite[][] {
    const groups: BucketWrite[][] = [];
    let posts = Infinity;
    for (const write of writes) {
      if (posts + write.posts.length > this.#posts) {
        groups.push([]);
        posts = 0;
      }
      groups.at(-1)!.push(write);
      posts += write.posts.length;
    }
    return groups;
  }

  shrink(): void {
    this.#posts = Math.max(this.#posts / 2, POSTS_MIN);
  }

  grow(): void {
    this.#posts = Math.min(this.#posts + GROWTH_POSTS, POSTS_MAX);
  }
}

import type { BucketWrite } from './sink.js';

/** Posts, members and milestones of one write. */
const ROWS_MAX = 5_000;
/** About a page of changes of one bucket. A page of a full sync is twice that with members, and cannot be divided. */
const ROWS_MIN = 500;
/** A write that succeeds lets the next ones grow by this, so that a sink at its limit runs into a timeout once in many writes. */
const GROWTH_ROWS = 50;

/**
 * The size of writes to one sink. One that ran into a time limit would do so again, forever: the next ones have half as many rows, and grow
 * again when they succeed (additive increase, multiplicative decrease: Chiu, Jain 1989).
 */
export class WriteSize {
  #rows = ROWS_MAX;

  /** Groups of at most this many rows, or of one write. */
  group(writes: readonly BucketWrite[]): BucketWrite[][] {
    const groups: BucketWrite[][] = [];
    let rows = Infinity;
    for (const write of writes) {
      const rowsOfWrite = write.posts.length + write.members.length + write.milestones.length;
      if (rows + rowsOfWrite > this.#rows) {
        groups.push([]);
        rows = 0;
      }
      groups.at(-1)!.push(write);
      rows += rowsOfWrite;
    }
    return groups;
  }

  shrink(): void {
    this.#rows = Math.max(this.#rows / 2, ROWS_MIN);
  }

  grow(): void {
    this.#rows = Math.min(this.#rows + GROWTH_ROWS, ROWS_MAX);
  }
}

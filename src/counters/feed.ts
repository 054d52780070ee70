import type { Key64 } from './ids.js';

/** Marks a bucket keeps at most: about 100 bytes each. */
export const FEED_MAX = 4_096;

/** Something that changed: a post's own entries, or one actor's toggle. */
export interface Mark {
  readonly post: string;
  /** -1: the entries. */
  readonly metric: number;
  readonly actor: Key64 | null;
  readonly stamp: number;
}

/**
 * What was changed here, in order of stamps, each thing once, at its last change: what a peer lacks is a tail of it. A peer
 * that stays away costs no more than FEED_MAX marks; then the oldest are dropped, and it is scanned for when it returns.
 */
export class Feed {
  readonly #marks = new Map<string, Mark>();
  #droppedUpTo = 0;

  /** @param startsAt stamp before which changes are not known */
  constructor(startsAt: number) {
    this.#droppedUpTo = startsAt;
  }

  /** A peer that lacks something up to here has to be scanned for. */
  get droppedUpTo(): number {
    return this.#droppedUpTo;
  }

  counted(post: string, stamp: number): void {
    this.#add(post, { post, metric: -1, actor: null, stamp });
  }

  toggled(post: string, metric: number, actor: Key64, stamp: number): void {
    this.#add(`${post} ${metric} ${actor.hi} ${actor.lo}`, { post, metric, actor, stamp });
  }

  /**
   * Marks after a stamp: all of a stamp or none, at most about `limit`.
   * @returns `upTo`: the last stamp of those, `null` if there are no more after them
   */
  after(stamp: number, limit: number): { marks: Mark[]; upTo: number | null } {
    const marks: Mark[] = [];
    for (const mark of this.#marks.values()) {
      if (mark.stamp <= stamp) continue;
      const last = marks.at(-1);
      if (marks.length >= limit && last!.stamp !== mark.stamp) return { marks, upTo: last!.stamp };
      marks.push(mark);
    }
    return { marks, upTo: null };
  }

  /** All peers have what was changed up to here. */
  trim(upTo: number): void {
    for (const [key, { stamp }] of this.#marks) {
      if (stamp > upTo) break;
      this.#marks.delete(key);
    }
    this.#droppedUpTo = Math.max(this.#droppedUpTo, upTo);
  }

  get size(): number {
    return this.#marks.size;
  }

  #add(key: string, mark: Mark): void {
    // In a Map the last one set is the last one found, if it was not there.
    this.#marks.delete(key);
    this.#marks.set(key, mark);
    if (this.#marks.size <= FEED_MAX) return;
    const [[oldest, { stamp }]] = this.#marks as unknown as [[string, Mark]];
    this.#marks.delete(oldest);
    this.#droppedUpTo = stamp;
  }
}

import { fmix32, fnv1a } from '../../common/hash.js';
import type { Key64 } from '../ids.js';

/** Marks a bucket keeps at most: about 150 bytes each. */
export const FEED_MAX = 4_096;

/** Something that changed: a post's own entries, or one actor's toggle. */
export interface FeedEntry {
  readonly post: string;
  /** -1: the entries. */
  readonly metric: number;
  readonly actor: Key64 | null;
  readonly stamp: number;
}

/** A mark where it stands: between others in the order of stamps, and among those whose hash is the same. */
class FeedNode implements FeedEntry {
  older: FeedNode | null = null;
  newer: FeedNode | null = null;

  constructor(
    readonly post: string,
    readonly metric: number,
    readonly actor: Key64 | null,
    readonly hash: number,
    public stamp: number,
    public sameHash: FeedNode | null,
  ) {}

  matches(post: string, metric: number, actor: Key64 | null): boolean {
    return this.metric === metric && this.actor?.lo === actor?.lo && this.actor?.hi === actor?.hi && this.post === post;
  }
}

/**
 * What was changed here, in order of stamps, each thing once, at its last change: what a peer lacks is a tail of it. A peer
 * that stays away costs no more than FEED_MAX marks; then the oldest are dropped, and it is scanned for when it returns.
 * What has just been changed is found from the end, however much waits before it.
 */
export class ChangeFeed {
  /** By hash, for a text of all that makes a thing would cost more than the rest of a like. */
  readonly #nodes = new Map<number, FeedNode>();
  #size = 0;
  #oldest: FeedNode | null = null;
  #newest: FeedNode | null = null;
  #droppedUpTo = 0;

  /** @param startsAt stamp before which changes are not known */
  constructor(startsAt: number) {
    this.#droppedUpTo = startsAt;
  }

  /** A peer that lacks something up to here has to be scanned for. */
  get droppedUpTo(): number {
    return this.#droppedUpTo;
  }

  recordCount(post: string, stamp: number): void {
    this.#add(post, -1, null, stamp);
  }

  recordToggle(post: string, metric: number, actor: Key64, stamp: number): void {
    this.#add(post, metric, actor, stamp);
  }

  /**
   * Marks after a stamp: all of a stamp or none, at most about `limit`.
   * @returns `upTo`: the last stamp of those, `null` if there are no more after them
   */
  entriesAfter(stamp: number, limit: number): { entries: FeedEntry[]; upTo: number | null } {
    let first: FeedNode | null = null;
    for (let one = this.#newest; one !== null && one.stamp > stamp; one = one.older) first = one;
    const marks: FeedEntry[] = [];
    for (let one = first; one !== null; one = one.newer) {
      const last = one.older;
      if (marks.length >= limit && last!.stamp !== one.stamp) return { entries: marks, upTo: last!.stamp };
      marks.push(one);
    }
    return { entries: marks, upTo: null };
  }

  /** All peers have what was changed up to here. */
  trim(upTo: number): void {
    while (this.#oldest !== null && this.#oldest.stamp <= upTo) this.#remove(this.#oldest);
    this.#droppedUpTo = Math.max(this.#droppedUpTo, upTo);
  }

  get size(): number {
    return this.#size;
  }

  #add(post: string, metric: number, actor: Key64 | null, stamp: number): void {
    const hash = hashOf(post, metric, actor);
    const alike = this.#nodes.get(hash) ?? null;
    let one = alike;
    while (one?.matches(post, metric, actor) === false) one = one.sameHash;
    if (one === null) {
      one = new FeedNode(post, metric, actor, hash, stamp, alike);
      this.#nodes.set(hash, one);
      this.#size += 1;
    } else this.#unlink(one);
    one.stamp = stamp;
    this.#append(one);
    if (this.#size <= FEED_MAX) return;
    const oldest = this.#oldest!;
    this.#remove(oldest);
    this.#droppedUpTo = oldest.stamp;
  }

  #append(one: FeedNode): void {
    one.older = this.#newest;
    one.newer = null;
    if (this.#newest === null) this.#oldest = one;
    else this.#newest.newer = one;
    this.#newest = one;
  }

  #unlink({ older, newer }: FeedNode): void {
    if (older === null) this.#oldest = newer;
    else older.newer = newer;
    if (newer === null) this.#newest = older;
    else newer.older = older;
  }

  #remove(one: FeedNode): void {
    this.#unlink(one);
    // Or one that grew old in memory would keep those after it, which then grow old, too.
    one.newer = null;
    this.#size -= 1;
    const first = this.#nodes.get(one.hash)!;
    if (first !== one) {
      let before = first;
      while (before.sameHash !== one) before = before.sameHash!;
      before.sameHash = one.sameHash;
    } else if (one.sameHash === null) this.#nodes.delete(one.hash);
    else this.#nodes.set(one.hash, one.sameHash);
  }
}

/** In 30 bits, which are a plain number to V8. */
function hashOf(post: string, metric: number, actor: Key64 | null): number {
  let hash = fnv1a(post, metric);
  if (actor !== null) hash ^= Math.imul(actor.hi, 0x85ebca6b) ^ Math.imul(actor.lo, 0xc2b2ae35);
  return fmix32(hash) & 0x3fffffff;
}

import { fmix32, fnv1a } from '../../common/hash.js';
import type { Key64 } from '../ids.js';

/** Marks a bucket keeps at most: about 150 bytes each. */
export const FEED_MAX = 4_096;

/** Something that changed: a post's own entries, or one actor's toggle. */
export interface Mark {
  readonly post: string;
  /** -1: the entries. */
  readonly metric: number;
  readonly actor: Key64 | null;
  readonly stamp: number;
}

/** A mark where it stands: between others in the order of stamps, and among those whose hash is the same. */
class Place implements Mark {
  older: Place | null = null;
  newer: Place | null = null;

  constructor(
    readonly post: string,
    readonly metric: number,
    readonly actor: Key64 | null,
    readonly hash: number,
    public stamp: number,
    public alike: Place | null,
  ) {}

  isOf(post: string, metric: number, actor: Key64 | null): boolean {
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
  readonly #places = new Map<number, Place>();
  #size = 0;
  #oldest: Place | null = null;
  #newest: Place | null = null;
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
    this.#add(post, -1, null, stamp);
  }

  toggled(post: string, metric: number, actor: Key64, stamp: number): void {
    this.#add(post, metric, actor, stamp);
  }

  /**
   * Marks after a stamp: all of a stamp or none, at most about `limit`.
   * @returns `upTo`: the last stamp of those, `null` if there are no more after them
   */
  after(stamp: number, limit: number): { marks: Mark[]; upTo: number | null } {
    let first: Place | null = null;
    for (let one = this.#newest; one !== null && one.stamp > stamp; one = one.older) first = one;
    const marks: Mark[] = [];
    for (let one = first; one !== null; one = one.newer) {
      const last = one.older;
      if (marks.length >= limit && last!.stamp !== one.stamp) return { marks, upTo: last!.stamp };
      marks.push(one);
    }
    return { marks, upTo: null };
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
    const alike = this.#places.get(hash) ?? null;
    let one = alike;
    while (one?.isOf(post, metric, actor) === false) one = one.alike;
    if (one === null) {
      one = new Place(post, metric, actor, hash, stamp, alike);
      this.#places.set(hash, one);
      this.#size += 1;
    } else this.#unlink(one);
    one.stamp = stamp;
    this.#append(one);
    if (this.#size <= FEED_MAX) return;
    const oldest = this.#oldest!;
    this.#remove(oldest);
    this.#droppedUpTo = oldest.stamp;
  }

  #append(one: Place): void {
    one.older = this.#newest;
    one.newer = null;
    if (this.#newest === null) this.#oldest = one;
    else this.#newest.newer = one;
    this.#newest = one;
  }

  #unlink({ older, newer }: Place): void {
    if (older === null) this.#oldest = newer;
    else older.newer = newer;
    if (newer === null) this.#newest = older;
    else newer.older = older;
  }

  #remove(one: Place): void {
    this.#unlink(one);
    // Or one that grew old in memory would keep those after it, which then grow old, too.
    one.newer = null;
    this.#size -= 1;
    const first = this.#places.get(one.hash)!;
    if (first !== one) {
      let before = first;
      while (before.alike !== one) before = before.alike!;
      before.alike = one.alike;
    } else if (one.alike === null) this.#places.delete(one.hash);
    else this.#places.set(one.hash, one.alike);
  }
}

/** In 30 bits, which are a plain number to V8. */
function hashOf(post: string, metric: number, actor: Key64 | null): number {
  let hash = fnv1a(post, metric);
  if (actor !== null) hash ^= Math.imul(actor.hi, 0x85ebca6b) ^ Math.imul(actor.lo, 0xc2b2ae35);
  return fmix32(hash) & 0x3fffffff;
}

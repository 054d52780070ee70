import { fmix32, fnv1a } from '../common/hash.js';
import type { Key64 } from './ids.js';
import type { MilestoneKey } from './milestones.js';

/** Entries that a bucket keeps at most: about 150 bytes each. */
export const FEED_MAX = 4_096;

/** Entries of milestones have a metric from here down. */
const MILESTONES_METRIC = -2;

/**
 * The last change of one thing: of the own region's entries of a post's counters, of one actor's toggle, or of a milestone, which changes
 * when its record may be copied.
 */
export interface FeedEntry {
  readonly post: string;
  /** -1: the counters; below it: a milestone, see `readMilestone`. */
  readonly metric: number;
  readonly actor: Key64 | null;
  readonly stamp: number;
}

/** @returns `null`: the entry is of something else */
export function readMilestone({ post, metric, actor }: FeedEntry): MilestoneKey | null {
  if (metric > MILESTONES_METRIC || actor === null) return null;
  return { post, metric: MILESTONES_METRIC - metric, n: actor.hi * 2 ** 32 + actor.lo };
}

/** An entry in two linked lists: that of all entries by stamp, and that of the entries with the same hash. */
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
 * The changes of a bucket in order of stamps, each thing once, at its last change: a peer lacks a tail of it. A peer that is away for long
 * costs no more than FEED_MAX entries; then the oldest are dropped, and the peer needs a full sync when it returns. Reading starts at the
 * newest entry, so that recent changes are found whatever waits before them.
 */
export class ChangeFeed {
  /** Keyed by hash: building a string key costs more than the rest of a like. */
  readonly #nodes = new Map<number, FeedNode>();
  #size = 0;
  #oldest: FeedNode | null = null;
  #newest: FeedNode | null = null;
  #droppedUpTo = 0;

  /**
   * @param startsAt changes up to this stamp are not in the feed
   * @param max entries that are kept
   */
  constructor(
    startsAt: number,
    private readonly max = FEED_MAX,
  ) {
    this.#droppedUpTo = startsAt;
  }

  /** A peer that lacks changes up to this stamp needs a full sync. */
  get droppedUpTo(): number {
    return this.#droppedUpTo;
  }

  /** @returns whether its entry is new, or had an older stamp */
  recordCount(post: string, stamp: number): boolean {
    return this.#add(post, -1, null, stamp);
  }

  /** @returns the same as `recordCount` */
  recordToggle(post: string, metric: number, actor: Key64, stamp: number): boolean {
    return this.#add(post, metric, actor, stamp);
  }

  /** @returns the same as `recordCount` */
  recordMilestone({ post, metric, n }: MilestoneKey, stamp: number): boolean {
    // The number is below 2^53, and its entry has the place of an actor, so that other entries need no field for it.
    const key = { hi: Math.floor(n / 2 ** 32), lo: n >>> 0 };
    return this.#add(post, MILESTONES_METRIC - metric, key, stamp);
  }

  /**
   * Entries after a stamp, at most about `limit`: either all entries of a stamp or none.
   * @returns `upTo`: the last stamp of these entries, `null` if no more follow
   */
  entriesAfter(stamp: number, limit: number): { entries: FeedEntry[]; upTo: number | null } {
    let first: FeedNode | null = null;
    for (let one = this.#newest; one !== null && one.stamp > stamp; one = one.older) first = one;
    const entries: FeedEntry[] = [];
    for (let one = first; one !== null; one = one.newer) {
      const last = one.older;
      if (entries.length >= limit && last!.stamp !== one.stamp) return { entries, upTo: last!.stamp };
      entries.push(one);
    }
    return { entries, upTo: null };
  }

  /** Drops the entries up to a stamp, because all peers have them. */
  trim(upTo: number): void {
    while (this.#oldest !== null && this.#oldest.stamp <= upTo) this.#remove(this.#oldest);
    this.#droppedUpTo = Math.max(this.#droppedUpTo, upTo);
  }

  get size(): number {
    return this.#size;
  }

  #add(post: string, metric: number, actor: Key64 | null, stamp: number): boolean {
    const hash = hashThing(post, metric, actor);
    const alike = this.#nodes.get(hash) ?? null;
    let one = alike;
    while (one?.matches(post, metric, actor) === false) one = one.sameHash;
    if (one === null) {
      one = new FeedNode(post, metric, actor, hash, stamp, alike);
      this.#nodes.set(hash, one);
      this.#size += 1;
    } else if (one.stamp === stamp) return false;
    else this.#unlink(one);
    one.stamp = stamp;
    this.#append(one);
    if (this.#size > this.max) this.#dropOldest();
    return true;
  }

  #dropOldest(): void {
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
    // Break the link, so that V8 does not promote the whole chain to old space.
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

/** 30 bits, because V8 keeps such a number without an allocation. */
function hashThing(post: string, metric: number, actor: Key64 | null): number {
  let hash = fnv1a(post, metric);
  if (actor !== null) hash ^= Math.imul(actor.hi, 0x85ebca6b) ^ Math.imul(actor.lo, 0xc2b2ae35);
  return fmix32(hash) & 0x3fffffff;
}

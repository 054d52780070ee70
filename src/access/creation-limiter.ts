import type { Clock } from '../common/clock.js';
import type { PostCounts } from '../counters/batch.js';
import { MARK_GENERATION_MAX, MARK_GENERATION_MS } from '../counters/bucket.js';
import { bucketOf } from '../counters/bucket-of.js';
import type { Key64 } from '../counters/ids.js';
import { APPLIED, type Operation } from '../counters/operation.js';
import { type ErrorBody, errorBody } from '../protocol/errors.js';
import { isLoopback } from './address-limiter.js';
import { KeyedRateLimiter } from './keyed-rate-limiter.js';
import { RecentSet } from './recent-set.js';
import type { SuspicionKind, SuspicionLog } from './suspicion-log.js';

const MINUTE_S = 60;
/**
 * A retry is recognised while its mark is in one of a bucket's two generations. In any hour an address begins at most this
 * many of the marks that fill a generation, so it cannot end one alone.
 */
const MARKS_AN_HOUR = MARK_GENERATION_MAX / 2;
/** An address may begin this many at once, and 7.96 a second: 500 operations a second, spread over 64 buckets, need less. */
const MARKS_BURST = 4_096;
/** Seconds until an address that has used all of its lookups has them back. */
const LOOKUPS_BACK_S = 20;
/** Posts in each half of the set of recent posts: about 10 MB in all. */
const POSTS_REMEMBERED = 32_768;
/** The same for actors: about 4 MB. */
const ACTORS_REMEMBERED = 32_768;

export interface CreationLimits {
  /** New posts of an address in a minute, with a burst of the same size; 0: no limit. */
  readonly postsPerMinute: number;
  /** The same for actors without a token that set a toggle, or count in a unique, from the address for the first time. */
  readonly actorsPerMinute: number;
  /** Posts that all connections of an address may watch at once; 0: no limit. */
  readonly watchedMax: number;
  /** Whether the marks that an address begins are limited. */
  readonly limitsMarks: boolean;
  readonly buckets: number;
  /** Gateways on this port: each grants an equal fraction of the marks. */
  readonly workers: number;
}

/**
 * Limits what clients can create at no cost and the store then keeps: posts, actors, and the sessions and keys of retries. Also
 * limits how many posts they look up. Each address has its own rates; loopback is exempt, as from the other limits.
 *
 * Only its commit shows whether a post is new. So an address pays for new posts afterwards, and while it owes too much it may
 * act only on posts that are known to exist. No operation waits for a read of the store.
 */
export class CreationLimiter {
  readonly posts: KeyedRateLimiter | null;
  readonly actors: KeyedRateLimiter | null;
  readonly marks: KeyedRateLimiter | null;
  readonly lookups: KeyedRateLimiter | null;
  readonly postsSeen = new RecentSet<string>(POSTS_REMEMBERED);
  readonly actorsSeen = new RecentSet<number>(ACTORS_REMEMBERED);

  /** @param isWatched whether a viewer of this gateway watches the post and has its counts */
  constructor(
    readonly limits: CreationLimits,
    clock: Clock,
    readonly suspicions: SuspicionLog,
    readonly isWatched: (post: string) => boolean,
  ) {
    const aMinute = (limit: number): KeyedRateLimiter | null =>
      limit === 0 ? null : new KeyedRateLimiter(clock, limit / MINUTE_S, limit);
    this.posts = aMinute(limits.postsPerMinute);
    this.actors = aMinute(limits.actorsPerMinute);
    const { watchedMax } = limits;
    this.lookups = watchedMax === 0 ? null : new KeyedRateLimiter(clock, watchedMax / LOOKUPS_BACK_S, watchedMax);
    const marksPerSecond = (MARKS_AN_HOUR - MARKS_BURST) / (MARK_GENERATION_MS / 1_000);
    this.marks = limits.limitsMarks
      ? new KeyedRateLimiter(clock, marksPerSecond / limits.workers, MARKS_BURST / limits.workers)
      : null;
  }

  /**
   * For a connection, or for one request.
   * @param isNamed whether the actor gave a name, and so may return under it
   * @returns `null` for exempt addresses
   */
  openClient(address: string, actor: Key64 | null, isNamed: boolean): ClientCreations | null {
    return isLoopback(address) ? null : new ClientCreations(this, address, actor, isNamed);
  }
}

/** Charges one client for what it creates: once for its actor, and once for its session in each bucket. */
export class ClientCreations {
  #isActorAdmitted = false;
  /** A bit a bucket: set if the session has a mark in it. */
  #marked: Uint32Array | null = null;

  constructor(
    private readonly limiter: CreationLimiter,
    private readonly address: string,
    private readonly actor: Key64 | null,
    private readonly isNamed: boolean,
  ) {}

  /**
   * Cost: not measurable while the address owes nothing.
   * @param withSession whether the operation leaves a mark
   * @returns `null` when it may go on; else RATE_LIMITED
   */
  admit(kind: Operation['kind'], post: string, withSession: boolean): ErrorBody | null {
    return (
      this.#admitPost(post) ??
      (kind === 'set' || kind === 'visit' ? this.#admitActor() : null) ??
      (withSession ? this.#admitMark(post) : null)
    );
  }

  /**
   * A client that watches ever other invented posts costs a read for each and, with Redis, a channel.
   * @returns `null` when it may look up this many posts; else RATE_LIMITED
   */
  admitLookups(posts: number): ErrorBody | null {
    const waitMs = this.limiter.lookups?.take(this.address, posts) ?? 0;
    if (waitMs === 0) return null;
    return this.#reject('lookups', 'too many posts looked up from your address; slow down', waitMs);
  }

  /** Whether `chargeNewPost` would have no effect. */
  isKnown(post: string): boolean {
    return this.limiter.posts === null || this.limiter.postsSeen.has(post);
  }

  /** Call it after the commit of the operation, or with the counts of before and outcome 0. */
  chargeNewPost(outcome: number, { post, v }: PostCounts): void {
    const { posts, postsSeen } = this.limiter;
    if (posts === null || postsSeen.has(post)) return;
    // Applied operations have just made version 1. The store may also keep a post of version 0, with toggles that were
    // set off.
    if (v === 0 || (v === 1 && (outcome & APPLIED) !== 0)) posts.charge(this.address);
    postsSeen.add(post);
  }

  #admitPost(post: string): ErrorBody | null {
    const { posts, postsSeen, isWatched } = this.limiter;
    const waitMs = posts?.waitMs(this.address) ?? 0;
    if (waitMs === 0 || postsSeen.has(post) || isWatched(post)) return null;
    return this.#reject('new-posts', 'too many new posts from your address; act on existing posts', waitMs);
  }

  #admitActor(): ErrorBody | null {
    const { actors, actorsSeen } = this.limiter;
    const { actor } = this;
    if (actors === null || actor === null || this.#isActorAdmitted) return null;
    const number = actor.hi * 2 ** 21 + (actor.lo >>> 11);
    if (!this.isNamed || !actorsSeen.has(number)) {
      const waitMs = actors.take(this.address);
      if (waitMs > 0) return this.#reject('new-actors', 'too many new actors from your address; retry later', waitMs);
      if (this.isNamed) actorsSeen.add(number);
    }
    this.#isActorAdmitted = true;
    return null;
  }

  #admitMark(post: string): ErrorBody | null {
    const { marks, limits } = this.limiter;
    if (marks === null) return null;
    const bucket = bucketOf(post, limits.buckets);
    this.#marked ??= new Uint32Array(Math.ceil(limits.buckets / 32));
    const bit = 1 << (bucket & 31);
    if ((this.#marked[bucket >> 5]! & bit) !== 0) return null;
    const waitMs = marks.take(`${bucket} ${this.address}`);
    if (waitMs > 0) {
      return this.#reject('marks', 'too many new sessions or keys from your address; retry later', waitMs);
    }
    this.#marked[bucket >> 5]! |= bit;
    return null;
  }

  #reject(kind: SuspicionKind, message: string, waitMs: number): ErrorBody {
    this.limiter.suspicions.add(kind, this.address);
    return errorBody('RATE_LIMITED', message, waitMs);
  }
}

import type { Clock } from '../common/clock.js';
import type { PostCounts } from '../counters/batch.js';
import { MARK_GENERATION_MAX, MARK_GENERATION_MS } from '../counters/bucket.js';
import { bucketOf, type Key64 } from '../counters/ids.js';
import { APPLIED, type Operation } from '../counters/operation.js';
import { type ErrorBody, errorBody } from '../protocol/errors.js';
import { isLoopback } from './address-limiter.js';
import { KeyedRateLimiter } from './keyed-rate.js';
import { RecentSet } from './recent-set.js';
import type { SuspicionKind, SuspicionLog } from './suspicions.js';

const MINUTE_S = 60;
/**
 * A retry is recognised while its mark is in one of a bucket's two generations. Of the marks that fill a generation an
 * address begins at most this many in any hour, so that it cannot end one by itself, let alone two.
 */
const MARKS_AN_HOUR = MARK_GENERATION_MAX / 2;
/** An address may begin this many at once. The rest comes at 7.96 a second: 500 operations a second, spread over 64 buckets, stay below that. */
const MARKS_BURST = 4_096;
/** Seconds after which an address that has looked up as many posts as it may watch at once may look up as many again. */
const LOOKUPS_BACK_S = 20;
/** Posts in each half of what is remembered: about 10 MB in all. */
const POSTS_REMEMBERED = 32_768;
/** Actors likewise: about 4 MB. */
const ACTORS_REMEMBERED = 32_768;

export interface CreationLimits {
  /** Posts that an address may begin in a minute, with a burst of as many; 0: no limit. */
  readonly posts: number;
  /** Actors without a token that may set toggles from an address for the first time, likewise. */
  readonly actors: number;
  /** Posts that the connections of an address may watch at once, together; 0: no limit. */
  readonly watched: number;
  /** Whether an address may begin a share of a bucket's marks only. */
  readonly marks: boolean;
  readonly buckets: number;
  /** Gateways on this port: each grants a part of the share of marks. */
  readonly workers: number;
}

/**
 * Limits for what clients can make up at no cost and the store then keeps: posts, actors, and the sessions and keys of
 * retries; and for how many posts they look up, made up or not. Each address has rates of its own; loopback is spared, as it is by the other limits.
 *
 * Whether a post is new only its commit can tell. So an address pays for its new posts afterwards, and while it owes too
 * much it may act on posts alone that are known to exist: no operation waits for a look into the store.
 */
export class CreationLimiter {
  readonly posts: KeyedRateLimiter | null;
  readonly actors: KeyedRateLimiter | null;
  readonly marks: KeyedRateLimiter | null;
  readonly lookups: KeyedRateLimiter | null;
  readonly postsSeen = new RecentSet<string>(POSTS_REMEMBERED);
  readonly actorsSeen = new RecentSet<number>(ACTORS_REMEMBERED);

  /** @param isWatched whether somebody here watches the post and saw it counted */
  constructor(
    readonly limits: CreationLimits,
    clock: Clock,
    readonly suspicions: SuspicionLog,
    readonly isWatched: (post: string) => boolean,
  ) {
    const aMinute = (limit: number): KeyedRateLimiter | null =>
      limit === 0 ? null : new KeyedRateLimiter(clock, limit / MINUTE_S, limit);
    this.posts = aMinute(limits.posts);
    this.actors = aMinute(limits.actors);
    const { watched } = limits;
    this.lookups = watched === 0 ? null : new KeyedRateLimiter(clock, watched / LOOKUPS_BACK_S, watched);
    const marksPerSecond = (MARKS_AN_HOUR - MARKS_BURST) / (MARK_GENERATION_MS / 1_000);
    this.marks = limits.marks
      ? new KeyedRateLimiter(clock, marksPerSecond / limits.workers, MARKS_BURST / limits.workers)
      : null;
  }

  /**
   * For a connection, or for one request.
   * @param isNamed whether the actor gave its name, and so may come back under it
   * @returns `null` where the address is spared
   */
  openClient(address: string, actor: Key64 | null, isNamed: boolean): ClientCreations | null {
    return isLoopback(address) ? null : new ClientCreations(this, address, actor, isNamed);
  }
}

/** Charges one client for what it makes up: once for its actor, and once for its session in each bucket. */
export class ClientCreations {
  #actorAdmitted = false;
  /** A bit for each bucket in which the session has a mark. */
  #marked: Uint32Array | null = null;

  constructor(
    private readonly limiter: CreationLimiter,
    private readonly address: string,
    private readonly actor: Key64 | null,
    private readonly isNamed: boolean,
  ) {}

  /**
   * Costs nothing that is measurable while the address owes nothing.
   * @param withSession whether the operation leaves a mark
   * @returns `null` when it may go on; else RATE_LIMITED
   */
  admit(kind: Operation['kind'], post: string, withSession: boolean): ErrorBody | null {
    return (
      this.#admitPost(post) ??
      (kind === 'set' ? this.#admitActor() : null) ??
      (withSession ? this.#admitMark(post) : null)
    );
  }

  /**
   * A client that watches ever other made-up posts costs a read for each and, with Redis, a channel.
   * @returns `null` when it may look up this many posts; else RATE_LIMITED
   */
  admitLookups(posts: number): ErrorBody | null {
    const waitMs = this.limiter.lookups?.take(this.address, posts) ?? 0;
    if (waitMs === 0) return null;
    return this.#reject('lookups', 'too many posts looked up from your address; slow down', waitMs);
  }

  /** The operation was committed. */
  chargeNewPost(outcome: number, { post, v }: PostCounts): void {
    const { posts, postsSeen } = this.limiter;
    if (posts === null || postsSeen.has(post)) return;
    // The first version has just been made by those whose operations were applied. A post of version 0 may be kept as
    // well, with the toggles that were set off there.
    if (v === 0 || (v === 1 && (outcome & APPLIED) !== 0)) posts.charge(this.address);
    postsSeen.add(post);
  }

  #admitPost(post: string): ErrorBody | null {
    const { posts, postsSeen, isWatched: isShown } = this.limiter;
    const waitMs = posts?.waitMs(this.address) ?? 0;
    if (waitMs === 0 || postsSeen.has(post) || isShown(post)) return null;
    return this.#reject('new-posts', 'too many new posts from your address; act on posts that were counted', waitMs);
  }

  #admitActor(): ErrorBody | null {
    const { actors, actorsSeen } = this.limiter;
    const { actor } = this;
    if (actors === null || actor === null || this.#actorAdmitted) return null;
    const number = actor.hi * 2 ** 21 + (actor.lo >>> 11);
    if (!this.isNamed || !actorsSeen.has(number)) {
      const waitMs = actors.take(this.address);
      if (waitMs > 0) return this.#reject('new-actors', 'too many new actors from your address; retry later', waitMs);
      if (this.isNamed) actorsSeen.add(number);
    }
    this.#actorAdmitted = true;
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

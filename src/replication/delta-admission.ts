import type { Clock } from '../common/clock.js';
import { TIME_AHEAD_MAX_MS } from '../counters/bucket.js';
import { MERGED_RECORDS_MAX } from '../counters/milestones.js';
import { REGIONS_MAX } from '../counters/pn-counter.js';
import type { Delta, HomeDelta, PostDelta, Rejection } from '../counters/replication/delta.js';
import { firstStampAt, toWallMs } from '../counters/replication/hybrid-clock.js';

/** A stamp that is further ahead would override, in all regions, everything that people do until then. */
export const AHEAD_MAX_MS = 3_600_000;
/** Regions outside PEERS for which peers may count: removed regions, whose counts stay. */
const UNLISTED_MAX = REGIONS_MAX / 2;
/** Shortest time between two log lines of one kind about one region. */
const WARN_INTERVAL_MS = 600_000;

/** Shared, because most posts have none. */
const NONE: readonly HomeDelta[] = [];

/** A delta as the store merges it, and why it was rejected. */
export interface Admitted {
  readonly delta: Delta;
  readonly rejection: Rejection | undefined;
}

/**
 * Checks deltas of other regions before they are merged: each bucket on its own, so that a wrong one delays no other. A rejected delta is
 * replaced by an empty one, because the source needs the ack to correct itself.
 */
export class DeltaAdmission {
  /** Deltas rejected since boot, by region. */
  readonly rejectedByRegion = new Map<string, number>();
  readonly #unlisted = new Set<string>();
  readonly #warnedAtMs = new Map<string, number>();

  /**
   * @param regions PEERS @param clock decides which stamps are ahead
   * @param hasLog LOG_URL: this region takes over no home in mode `strict`, because events of a log are not forwarded
   */
  constructor(
    private readonly regions: ReadonlySet<string>,
    private readonly clock: Clock,
    private readonly warn: (message: string) => void,
    private readonly hasLog = false,
  ) {}

  admit(from: string, deltas: readonly Delta[]): readonly Admitted[] {
    const wallMs = this.clock.wallMs();
    return deltas.map((delta) => {
      const rejection = this.#findRejection(from, delta, wallMs);
      if (rejection === undefined) {
        this.#warnAboutRecords(from, delta);
        const merged = this.hasLog ? this.#withoutStrictHomes(delta) : delta;
        return { delta: capTimes(merged, wallMs), rejection };
      }
      this.rejectedByRegion.set(from, (this.rejectedByRegion.get(from) ?? 0) + 1);
      return { delta: emptied(delta, wallMs), rejection };
    });
  }

  /** The store failed to merge admitted deltas. */
  reportMergeFailure(from: string, error: unknown): void {
    const reason = error instanceof Error ? error.message : String(error);
    this.#warn(`${from} merge`, `merging deltas of region ${from} failed: ${reason}`);
  }

  #findRejection(from: string, delta: Delta, wallMs: number): Rejection | undefined {
    const aheadMs = toWallMs(findLatestStamp(delta)) - wallMs;
    const rejecting = `rejecting deltas of some buckets of region ${from}`;
    if (aheadMs > AHEAD_MAX_MS) {
      const minutes = Math.round(aheadMs / 60_000);
      const problem = `it is ${minutes} minutes ahead of this region's clock; set both clocks right (NTP)`;
      this.#warn(`${from} ahead`, `${rejecting}: ${problem}`);
      return 'ahead';
    }
    const problem = this.#findImpossibleEntry(from, delta);
    if (problem === null) return undefined;
    this.#warn(`${from} entries`, `${rejecting}: ${problem}`);
    return 'entries';
  }

  #findImpossibleEntry(from: string, { posts }: Delta): string | null {
    for (const { post, entries } of posts) {
      for (const { incarnation, p, n } of entries) {
        const { region } = incarnation;
        if (n > p) return `post ${post} has an entry of region ${region} that removed ${n} and added only ${p}`;
        if (region !== from && !this.#mayCountFor(region)) {
          return `it counts for region ${region}, which is not in PEERS, as more than ${UNLISTED_MAX} other regions are not`;
        }
      }
    }
    return null;
  }

  /** Without the home nothing is confirmed, so nobody decides without the events of this region's log. The rest is merged. */
  #withoutStrictHomes(delta: Delta): Delta {
    const isStrict = ({ home }: HomeDelta): boolean => home?.mode === 'strict';
    if (!delta.posts.some(({ homes = NONE }) => homes.some(isStrict))) return delta;
    const posts = delta.posts.map((post) => {
      const strict = post.homes?.find(isStrict);
      if (strict === undefined) return post;
      this.#warn(
        `${strict.home!.region} home`,
        `region ${strict.home!.region} wants to decide about milestones of post ${post.post} in mode strict, and waits for this region, ` +
          'whose LOG_URL does not allow it: disarm them there, or arm them in mode order',
      );
      return { ...post, homes: post.homes!.map((one) => (isStrict(one) ? { ...one, home: null } : one)) };
    });
    return { ...delta, posts };
  }

  /** A region whose list of records is full keeps no more records of others. */
  #warnAboutRecords(from: string, { posts }: Delta): void {
    for (const { post, homes = NONE } of posts) {
      for (const { reached } of homes) {
        if (reached.length < MERGED_RECORDS_MAX) continue;
        const problem = `region ${from} has ${reached.length} records of milestones of one metric of post ${post}`;
        const advice = `regions keep ${MERGED_RECORDS_MAX}; the region that decided has the others`;
        this.#warn(`${from} records`, `${problem}; ${advice}`);
      }
    }
  }

  #mayCountFor(region: string): boolean {
    if (this.regions.has(region) || this.#unlisted.has(region)) return true;
    if (this.#unlisted.size >= UNLISTED_MAX) return false;
    this.#unlisted.add(region);
    return true;
  }

  #warn(kind: string, message: string): void {
    const nowMs = this.clock.nowMs();
    if (nowMs - (this.#warnedAtMs.get(kind) ?? -Infinity) < WARN_INTERVAL_MS) return;
    this.#warnedAtMs.set(kind, nowMs);
    this.warn(message);
  }
}

function findLatestStamp({ startedAtStamp, after, upTo, ackedUpTo, stableStamp, posts }: Delta): number {
  let latest = Math.max(startedAtStamp, after, upTo, ackedUpTo, stableStamp);
  for (const { registers, homes = NONE } of posts) {
    for (const { stamp } of registers) if (stamp > latest) latest = stamp;
    for (const { confirmations } of homes) for (const { stamp } of confirmations) latest = Math.max(latest, stamp);
  }
  return latest;
}

/** A delta without content: the receiver acks what it has of the source. */
function emptied(delta: Delta, wallMs: number): Delta {
  const startedAtStamp = Math.min(delta.startedAtStamp, firstStampAt(wallMs));
  const noStamps = { after: 0, upTo: 0, ackedUpTo: 0, stableStamp: 0 };
  return { ...delta, ...noStamps, kind: 'changes', startedAtStamp, posts: [], fullSyncReceiver: null };
}

/** Times of last changes and of records are shown to people, so none may be in the future. */
function capTimes(delta: Delta, wallMs: number): Delta {
  const latestMs = wallMs + TIME_AHEAD_MAX_MS;
  if (!delta.posts.some((post) => post.updatedAtMs > latestMs || hasRecordAfter(post, latestMs))) return delta;
  const posts = delta.posts.map((post) => {
    const { homes } = post;
    const capped = { ...post, updatedAtMs: Math.min(post.updatedAtMs, wallMs) };
    return homes === undefined ? capped : { ...capped, homes: homes.map((home) => capRecords(home, wallMs)) };
  });
  return { ...delta, posts };
}

function hasRecordAfter({ homes = NONE }: PostDelta, latestMs: number): boolean {
  return homes.some(({ reached }) => reached.some(({ atMs }) => atMs > latestMs));
}

function capRecords(home: HomeDelta, wallMs: number): HomeDelta {
  return { ...home, reached: home.reached.map((one) => ({ ...one, atMs: Math.min(one.atMs, wallMs) })) };
}

import type { Clock } from '../common/clock.js';
import { TIME_AHEAD_MAX_MS } from '../counters/bucket.js';
import { REGIONS_MAX } from '../counters/pn-counter.js';
import type { Rejection, Delta } from '../counters/replication/delta.js';
import { firstStampAt, toWallMs } from '../counters/replication/hybrid-clock.js';

/** A stamp that is further ahead would hold back, here and everywhere, what people do until then. */
export const AHEAD_MAX_MS = 3_600_000;
/** Regions besides PEERS that others may count for: those that were removed, whose counts stay. */
const STRANGERS_MAX = REGIONS_MAX / 2;
/** Of one region, the same thing is logged this often at most. */
const WARN_EVERY_MS = 600_000;

/** A shipment as it is merged, and what was wrong with it. */
export interface Admitted {
  readonly shipment: Delta;
  readonly rejection: Rejection | undefined;
}

/**
 * Looks at what other regions ship before it is merged: each bucket by itself, so that one that is wrong holds up no other. Of one that is
 * rejected only the question is left, what the receiver has of it: the source needs the answer to set itself right.
 */
export class Admission {
  /** By region: how many of its shipments were rejected, since boot. */
  readonly rejectedByRegion = new Map<string, number>();
  readonly #strangers = new Set<string>();
  readonly #warnedAtMs = new Map<string, number>();

  /** @param regions PEERS @param clock by which what is ahead is ahead */
  constructor(
    private readonly regions: ReadonlySet<string>,
    private readonly clock: Clock,
    private readonly warn: (message: string) => void,
  ) {}

  admit(from: string, shipments: readonly Delta[]): readonly Admitted[] {
    const wallMs = this.clock.wallMs();
    return shipments.map((shipment) => {
      const rejection = this.#rejectionOf(from, shipment, wallMs);
      if (rejection === undefined) return { shipment: inThePast(shipment, wallMs), rejection };
      this.rejectedByRegion.set(from, (this.rejectedByRegion.get(from) ?? 0) + 1);
      return { shipment: questionOf(shipment, wallMs), rejection };
    });
  }

  /** The store did not take what was admitted. */
  reportMergeFailure(from: string, error: unknown): void {
    this.#warn(from, 'a call', error instanceof Error ? error.message : String(error));
  }

  #rejectionOf(from: string, shipment: Delta, wallMs: number): Rejection | undefined {
    const aheadMs = toWallMs(latestStampOf(shipment)) - wallMs;
    if (aheadMs > AHEAD_MAX_MS) {
      const minutes = Math.round(aheadMs / 60_000);
      this.#warn(from, 'ahead', `it is ${minutes} minutes ahead of this region's clock; set both clocks right (NTP)`);
      return 'ahead';
    }
    const problem = this.#problemOf(from, shipment);
    if (problem === null) return undefined;
    this.#warn(from, 'entries', problem);
    return 'entries';
  }

  #problemOf(from: string, { posts }: Delta): string | null {
    for (const { post, entries } of posts) {
      for (const { incarnation: replica, p, n } of entries) {
        if (n > p) return `of post ${post} region ${replica.region} is said to have taken away ${n} and added ${p}`;
        if (replica.region !== from && !this.#mayBeNamed(replica.region)) {
          return `it counts for region ${replica.region}, which PEERS does not name, and so for more than ${STRANGERS_MAX} others`;
        }
      }
    }
    return null;
  }

  #mayBeNamed(region: string): boolean {
    if (this.regions.has(region) || this.#strangers.has(region)) return true;
    if (this.#strangers.size >= STRANGERS_MAX) return false;
    this.#strangers.add(region);
    return true;
  }

  #warn(from: string, what: Rejection | 'a call', problem: string): void {
    const key = `${from} ${what}`;
    const nowMs = this.clock.nowMs();
    if (nowMs - (this.#warnedAtMs.get(key) ?? -Infinity) < WARN_EVERY_MS) return;
    this.#warnedAtMs.set(key, nowMs);
    this.warn(`what region ${from} ships of some buckets is not merged: ${problem}`);
  }
}

function latestStampOf({
  startedAtStamp: born,
  after,
  upTo,
  ackedUpTo: confirmed,
  stableStamp: floor,
  posts,
}: Delta): number {
  let latest = Math.max(born, after, upTo, confirmed, floor);
  for (const { registers } of posts) for (const { stamp } of registers) if (stamp > latest) latest = stamp;
  return latest;
}

/** Says nothing, but has the receiver answer what it has of the source. */
function questionOf(shipment: Delta, wallMs: number): Delta {
  const born = Math.min(shipment.startedAtStamp, firstStampAt(wallMs));
  return {
    ...shipment,
    kind: 'changes',
    startedAtStamp: born,
    after: 0,
    upTo: 0,
    ackedUpTo: 0,
    stableStamp: 0,
    posts: [],
    fullSyncReceiver: null,
  };
}

/** Times of last changes are shown to people. */
function inThePast(shipment: Delta, wallMs: number): Delta {
  const isAhead = shipment.posts.some(({ updatedAtMs }) => updatedAtMs > wallMs + TIME_AHEAD_MAX_MS);
  if (!isAhead) return shipment;
  const posts = shipment.posts.map((post) => ({ ...post, updatedAtMs: Math.min(post.updatedAtMs, wallMs) }));
  return { ...shipment, posts };
}

import type { Bucket } from '../bucket.js';
import type { Operation } from '../operation.js';
import { HOPS_MAX } from './forwarded-operation.js';
import type { MilestoneHome, SharedMilestones } from '../milestones.js';
import { compareIncarnations } from '../pn-counter.js';
import type { PostDelta } from './delta.js';
import type { ReplicationState } from './replication-state.js';

/** The part of a bucket that homes use. */
export interface HomesBucket extends Bucket {
  readonly replication: ReplicationState;
  /** The names of all other regions. */
  readonly peers: readonly string[];
  persistReplication(): void;
}

/** Rules between regions. Tests plant other ones to see that they would be found. */
export interface HomeRules {
  readonly hasConfirmationOf: typeof hasConfirmationOf;
  /** Whether a region with this name stops counting once it has confirmed the home. */
  readonly freezes: (home: MilestoneHome, region: string) => boolean;
  readonly waitsForConfirmations: boolean;
  readonly honoursDecided: boolean;
  /** Whether a home that replaces another one releases only once all have confirmed it. */
  readonly waitsToRelease: boolean;
  readonly keepsConfirmation: boolean;
  readonly waitsForSync: boolean;
  readonly keepsMarkOf: typeof keepsMarkOf;
  /** @param marks regions that may have got an operation, with their marks */
  readonly selectForwarded: typeof selectForwarded;
  /** Under which of the metrics that an operation may change, its own first, it is looked up whether it was forwarded before. */
  readonly forwardedFor: (metrics: readonly number[]) => readonly number[];
  /** Whether a region gives way to another one that decides about another option of a choice. */
  readonly yieldsChoices: boolean;
  /** Whether a region counts again what a failover has lost, although another one decides now. */
  readonly countsReplays: boolean;
}

export const HOME_RULES: HomeRules = {
  hasConfirmationOf,
  freezes: ({ mode, region: home }, region) => mode === 'strict' && home !== region,
  waitsForConfirmations: true,
  honoursDecided: true,
  waitsToRelease: true,
  keepsConfirmation: true,
  waitsForSync: true,
  keepsMarkOf,
  selectForwarded,
  forwardedFor: (metrics) => metrics,
  yieldsChoices: true,
  countsReplays: true,
};

/**
 * Whether this region has everything that another one counted before it confirmed the home. Only the incarnation that counts now can
 * confirm: one before may have counted what is lost since. Its confirmation alone is not enough, because it may come before other
 * changes, in a part of a delta or by a third region.
 */
function hasConfirmationOf({ replication }: HomesBucket, region: string, shared: SharedMilestones): boolean {
  const confirmation = shared.confirmations.find((one) => one.region === region);
  if (confirmation === undefined || !isSameHome(confirmation.home, shared.home)) return false;
  const received = replication.versionVectorEntry(region);
  const isCurrent = [replication.latestIncarnation(region), received].every(
    (one) => compareIncarnations(confirmation, one) === 'same',
  );
  return isCurrent && received.upTo >= confirmation.stamp;
}

function isSameHome(a: MilestoneHome | null, b: MilestoneHome | null): boolean {
  return a?.region === b?.region && a?.number === b?.number;
}

/**
 * A home's number rises by one when a region claims or releases it, so it is far below this within the life of a metric. A region whose
 * number is that much higher than the one known here has a fault; with its number nobody could take over again.
 */
export const HOME_NUMBER_JUMP_MAX = 1_000_000;

/** A delta was not merged, because a home in it has an impossible number. */
export class ImpossibleHomeError extends Error {
  constructor(post: string, metric: number, number: number, most: number) {
    super(`home of metric ${metric} of post ${post} has the number ${number}; it must be at most ${most}`);
  }
}

/** @throws ImpossibleHomeError; to be called before anything of the delta is merged */
export function assertPossibleHomes({ milestones }: Pick<Bucket, 'milestones'>, posts: readonly PostDelta[]): void {
  for (const { post, homes } of posts) {
    for (const { metric, home } of homes ?? []) {
      const most = (milestones.get(post, metric)?.shared?.home?.number ?? 0) + HOME_NUMBER_JUMP_MAX;
      if (home !== null && home.number > most) throw new ImpossibleHomeError(post, metric, home.number, most);
    }
  }
}

/** Whether a home replaces another one. */
export function isHigher(home: MilestoneHome, other: MilestoneHome | null): boolean {
  if (other === null || home.number !== other.number) return home.number > (other?.number ?? 0);
  return home.region > other.region;
}

/**
 * Whether a region remembers where an operation was forwarded: also a former home what it has forwarded for another region. What reaches
 * the last region that may get it goes nowhere else, so a mark would only keep it from being counted there later.
 */
function keepsMarkOf({ isForwarded, hops = 1 }: Pick<Operation, 'isForwarded' | 'hops'>): boolean {
  return isForwarded !== true || hops < HOPS_MAX;
}

/** @returns the region with the lowest mark, of several the first; `undefined` if there is none */
function selectForwarded(marks: readonly (readonly [region: string, mark: number])[]): string | undefined {
  return marks.reduce<readonly [string, number] | undefined>(
    (least, one) => (least === undefined || one[1] < least[1] ? one : least),
    undefined,
  )?.[0];
}

/** At least a minute of the present rate is wanted, so that all regions have stopped before it is reached. */
export function computeDefaultStart(n: number): number {
  return n - Math.max(1_000, Math.ceil(n / 1_000));
}

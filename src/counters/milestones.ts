import type { Key64 } from './ids.js';
import type { Metrics } from './metrics.js';
import type { Operation } from './operation.js';
import type { RegionIncarnation } from './pn-counter.js';

/** Armed at a time for one metric of a post. */
export const ARMED_MAX = 16;
/** Armed or reached for one metric of a post, when one more is armed: records are kept for good. */
export const MILESTONES_MAX = 64;
/**
 * Records of one metric of a post up to which those of other regions are taken over. Regions that arm before they know of each other may
 * pass MILESTONES_MAX by ARMED_MAX each, so four may.
 */
export const MERGED_RECORDS_MAX = MILESTONES_MAX + 4 * ARMED_MAX;
/** Records of one metric of a post: a region that has MERGED_RECORDS_MAX may reach those that it has armed before. */
export const RECORDS_MAX = MERGED_RECORDS_MAX + ARMED_MAX;
/** Armed at a time in a bucket; with records that sinks do not get yet, because they may still be lost. */
export const ARMED_PER_BUCKET_MAX = 1_000;
/**
 * A record of a store that may lose its last commits is final at this age by the clock of the store. It is the bound on lost history that
 * gateways retain batches for: a failover that loses the record loses it before, and the crossing is found again.
 */
export const MILESTONE_FINAL_MS = 30_000;

/** The operation with which a total first reached `n`. Written once, in the commit of the operation. */
export interface ReachedMilestone {
  readonly n: number;
  /** `null`: the operation had none. */
  readonly actor: Key64 | null;
  readonly session: Key64 | null;
  readonly seq: number;
  readonly kind: Operation['kind'];
  readonly value: number;
  /** After the operation; at least `n`. */
  readonly total: number;
  /** The version of the post's counts that include the operation. */
  readonly v: number;
  /** The incarnation of the store that committed it. */
  readonly region: string;
  readonly epoch: number;
  /** Time of the batch, ms since 1970. */
  readonly atMs: number;
  /** By the clock of the store, ms since 1970. */
  readonly recordedAtMs: number;
  /** Whether the total passed `n` by something that is no operation, so that nobody reached it. */
  readonly missed: boolean;
  /** Only with other regions: whether the region that decided has found it to be final. */
  readonly isFinal?: true;
}

/** Which milestone it is. */
export interface MilestoneKey {
  readonly post: string;
  /** Index of the metric. */
  readonly metric: number;
  readonly n: number;
}

/** A record, and what it is of. */
export interface PostMilestone extends ReachedMilestone, MilestoneKey {}

/** The milestones of one metric of a post. */
export interface Milestones {
  /** Ascending, and all above the total. */
  readonly armed: readonly number[];
  /** In the order in which they were reached. */
  readonly reached: readonly ReachedMilestone[];
  /** Only where other regions count, too. */
  readonly shared?: SharedMilestones;
}

/**
 * How much other regions do for the region that decides. `order`: they count on. `strict`: they forward operations, and count none
 * themselves. `released`: as if there were no home.
 */
export type HomeMode = 'order' | 'strict' | 'released';

/** The region that decides who reaches the milestones of a metric: the one with the highest (number, region). */
export interface MilestoneHome {
  readonly region: string;
  readonly number: number;
  readonly mode: HomeMode;
}

/** A region sends it once it has merged a home: in `strict` it has counted nothing after `stamp`. */
export interface HomeConfirmation extends RegionIncarnation {
  readonly home: MilestoneHome;
  readonly stamp: number;
}

/** The state that regions share about the milestones of a metric. */
export interface SharedMilestones {
  readonly home: MilestoneHome | null;
  /** By region, at most one. */
  readonly confirmations: readonly HomeConfirmation[];
  /** In `strict`: for each armed one the total from which the other regions forward. Empty in `order`. */
  readonly starts: readonly { readonly n: number; readonly from: number }[];
  /** Whether every region has once confirmed the home. */
  readonly isEffective: boolean;
  /** Other regions to which this one has forwarded, the last one first: they know what a retry is a repetition of. */
  readonly forwardedTo: readonly string[];
}

export const NOT_SHARED: SharedMilestones = {
  ...{ home: null, confirmations: [], starts: [], isEffective: false, forwardedTo: [] },
};

/** The rules between regions, as operations of this one meet them; see replication/milestone-homes.ts. */
export interface MilestoneHomes {
  /**
   * To be called before an operation is applied, and after it is known that it is no duplicate.
   * @param total of its metric; @param stamp of the changes of its batch; @param isReplay whether it was counted here before, and lost
   * @returns whether it may be applied here; else another region has to, or it has to wait for one
   */
  admits(operation: Operation, total: number, stamp: number, isReplay: boolean): boolean;
  /** @returns the region that has to do an operation that is not admitted; `null`: it has to wait here */
  forwardTo(operation: Operation): string | null;
  /** @returns the milestones of the metric; `undefined`: none may be decided now */
  decidable(post: string, metric: number): Milestones | undefined;
}

export const NO_MILESTONES: Milestones = { armed: [], reached: [] };

/** Whether nothing of them is to be kept. */
export function areNone({ armed, reached, shared }: Milestones): boolean {
  return armed.length === 0 && reached.length === 0 && shared === undefined;
}

/** The milestones of a bucket's posts. */
export interface BucketMilestones {
  /** Whether no metric of any post has one, armed or reached. */
  readonly isEmpty: boolean;
  /** How many are armed. If none is, operations cost only this check. */
  readonly armedCount: number;
  /** `undefined`: the metric has none. */
  get(post: string, metric: number): Milestones | undefined;
  /**
   * Milestones with none armed and none reached are removed.
   * @param reached those that were reached with this change, to be published
   */
  set(post: string, metric: number, milestones: Milestones, reached: readonly ReachedMilestone[]): void;
  /** The clock of the store, ms since 1970. */
  nowMs(): number;
  /** Whether no failover of the store can lose a record of this region any more. */
  isDurable(record: Pick<ReachedMilestone, 'recordedAtMs'>): boolean;
}

/** An operation after which a total may be at a milestone; without an operation `value` is 0. */
export type Crossing = Omit<ReachedMilestone, 'n' | 'missed' | 'isFinal'>;

const NOBODY = { actor: null, session: null, seq: 0, kind: 'add', value: 0, missed: true } as const;

/** Whether a total is at an armed milestone: asked first, because it is not after nearly all operations, and costs less than a crossing. */
export function isAtMilestone({ armed }: Milestones, total: number): boolean {
  return armed.length > 0 && total >= armed[0]!;
}

/**
 * Disarms what a total has reached, and keeps the records. An operation is named only for what is above the total without its value:
 * the rest was passed before, perhaps by a version that knew no milestones.
 * @returns `null` if nothing was reached
 */
export function reachMilestones(
  milestones: Milestones,
  crossing: Crossing,
): { milestones: Milestones; reached: readonly ReachedMilestone[] } | null {
  const { armed, reached } = milestones;
  const { total, value } = crossing;
  if (armed[0] === undefined || armed[0] > total) return null;
  const records = armed
    .filter((n) => n <= total)
    .map((n) => (n > total - value ? { n, ...crossing, missed: false } : { n, ...crossing, ...NOBODY }));
  const left = armed.filter((n) => n > total);
  return { milestones: { ...milestones, armed: left, reached: [...reached, ...records] }, reached: records };
}

/** Whether no failover can lose a record any more, by the clock of a store that may lose its last commits. */
export function isFinal({ recordedAtMs }: Pick<ReachedMilestone, 'recordedAtMs'>, nowMs: number): boolean {
  return recordedAtMs <= nowMs - MILESTONE_FINAL_MS;
}

/**
 * Whether a record is final as far as a region knows: of its own records it judges by its store, and those of others are final when their
 * region has said so.
 */
export function isKnownFinal(
  record: ReachedMilestone,
  region: string,
  milestones: Pick<BucketMilestones, 'isDurable'>,
): boolean {
  return record.isFinal === true || (record.region === region && milestones.isDurable(record));
}

/** Whether an operation with this session and seq is the one that reached a milestone. */
export function hasReached({ reached }: Milestones, session: Key64, seq: number): boolean {
  return reached.some((one) => one.seq === seq && one.session?.lo === session.lo && one.session.hi === session.hi);
}

/** Only with other regions. */
export interface ArmOptions {
  readonly mode: Exclude<HomeMode, 'released'>;
  /** In `strict`: the total from which other regions forward. A default depends on `n`. */
  readonly from?: number;
  /** Whether this region is to become the home although another one is. */
  readonly takesOver?: boolean;
}

/** Why a milestone cannot be armed. */
export type ArmRejection =
  /** Another region is the home. */
  | { readonly kind: 'elsewhere'; readonly home: string }
  /** Another region is the `strict` home of another option of the choice. */
  | { readonly kind: 'choice'; readonly home: string }
  /** Others of the metric are armed in this mode. */
  | { readonly kind: 'mode'; readonly mode: HomeMode }
  | { readonly kind: 'passed'; readonly total: number }
  | { readonly kind: 'reached' }
  /** As many are armed, or armed and reached, as may be. */
  | { readonly kind: 'full'; readonly of: 'armed' | 'milestones' | 'bucket'; readonly max: number };

/** `isNew`: whether it was not armed before. */
export type ArmResult =
  { readonly kind: 'armed'; readonly isNew: boolean; readonly armed: readonly number[] } | ArmRejection;

/**
 * Arms a milestone.
 * @param total of the metric now
 * @param armedInBucket with those whose records sinks do not get yet
 * @returns the milestones to be kept, if they have changed
 */
export function arm(
  milestones: Milestones,
  n: number,
  total: number,
  armedInBucket: number,
): { readonly result: ArmResult; readonly milestones: Milestones | null } {
  const { armed } = milestones;
  if (armed.includes(n)) return { result: { kind: 'armed', isNew: false, armed }, milestones: null };
  const rejection = findRejection(milestones, n, total, armedInBucket);
  if (rejection !== null) return { result: rejection, milestones: null };
  const now = [...armed, n].sort((a, b) => a - b);
  return { result: { kind: 'armed', isNew: true, armed: now }, milestones: { ...milestones, armed: now } };
}

function findRejection(
  { armed, reached }: Milestones,
  n: number,
  total: number,
  armedInBucket: number,
): ArmRejection | null {
  if (reached.some((one) => one.n === n)) return { kind: 'reached' };
  if (total >= n) return { kind: 'passed', total };
  if (armed.length >= ARMED_MAX) return { kind: 'full', of: 'armed', max: ARMED_MAX };
  if (armed.length + reached.length >= MILESTONES_MAX) return { kind: 'full', of: 'milestones', max: MILESTONES_MAX };
  if (armedInBucket >= ARMED_PER_BUCKET_MAX) return { kind: 'full', of: 'bucket', max: ARMED_PER_BUCKET_MAX };
  return null;
}

/** @returns the milestones without `n`; `null` if it is not armed */
export function disarm(milestones: Milestones, n: number): Milestones | null {
  const { armed } = milestones;
  return armed.includes(n) ? { ...milestones, armed: armed.filter((one) => one !== n) } : null;
}

/** The records of all metrics of a post. */
export function listRecords(
  milestones: Pick<BucketMilestones, 'get'>,
  metrics: Metrics,
  post: string,
): PostMilestone[] {
  return metrics.list.flatMap(({ index: metric }) =>
    (milestones.get(post, metric)?.reached ?? []).map((one) => ({ post, metric, ...one })),
  );
}

/** @returns the record, if there is one */
export function findRecord(
  milestones: Pick<BucketMilestones, 'get'>,
  { post, metric, n }: MilestoneKey,
): PostMilestone[] {
  const record = milestones.get(post, metric)?.reached.find((one) => one.n === n);
  return record === undefined ? [] : [{ post, metric, ...record }];
}

/** Takes over records of a copy. Those that are there already stay. */
export function restoreRecords(
  getMilestones: (post: string) => Pick<BucketMilestones, 'get' | 'set'>,
  records: readonly PostMilestone[],
): void {
  for (const { post, metric, ...record } of records) {
    const milestones = getMilestones(post);
    const before = milestones.get(post, metric) ?? NO_MILESTONES;
    const { armed, reached } = before;
    if (reached.some(({ n }) => n === record.n)) continue;
    const restored = { ...before, armed: armed.filter((n) => n !== record.n), reached: [...reached, record] };
    milestones.set(post, metric, restored, []);
  }
}

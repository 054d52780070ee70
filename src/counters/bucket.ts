import type { PostCounts, ProducerState } from './batch.js';
import type { Key64 } from './ids.js';
import type { Metrics } from './metrics.js';
import type { BucketMilestones, MilestoneHomes, ReachedMilestone } from './milestones.js';
import { COUNT_MAX, EMPTY_COUNTER, type PnCounter, type RegionIncarnation, sumEntries } from './pn-counter.js';

/** One metric of a post. */
export interface MetricState {
  /** How many actors have the toggle on; 0 for a kind without members. */
  members: number;
  /** A tally's count; a toggle's anonymous count. */
  counter: PnCounter;
}

export interface PostState {
  v: number;
  updatedAtMs: number;
  /** By metric index; metrics that came later than the record are missing at the end. */
  metrics: MetricState[];
}

/** Marks are kept for one to two generations, so that old ones expire without a search. */
export interface MarkGeneration {
  readonly number: number;
  readonly startedAtMs: number;
  /** How many marks were written in this generation. */
  readonly marks: number;
}

/** The last number of each key: high-water marks, which expire. */
export interface Marks {
  readonly generation: MarkGeneration;
  /** Starts a generation: marks of the one before are still found, older ones no more. */
  startGeneration(atMs: number): void;
  /** 0 if none is known. */
  get(key: Key64): number;
  set(key: Key64, number: number): void;
}

/** A generation of sessions ends after an hour, … */
export const MARK_GENERATION_MS = 3_600_000;
/** … or when it has this many marks, which bounds what sessions can make a store keep. */
export const MARK_GENERATION_MAX = 65_536;
/**
 * A generation of visits ends after the longest window, or when it has this many marks, of 22 bytes each in Redis: with 64 buckets 16.8
 * million, so 194 counted visits a second for a day. Above it windows are shorter.
 */
export const VISIT_MARKS_MAX = 262_144;

/** Records what a batch changes for other regions. */
export interface ChangeRecorder {
  /** Whether each update of a toggle leaves a register, so that its post must exist even if no count changed. */
  readonly keepsRegisters: boolean;
  /** The stamp of a batch that is applied at this wall time. */
  now(wallMs: number): number;
  /** The own region's entry of a counter of the post changed. */
  recordCount(post: string, stamp: number): void;
  /** An actor updated a toggle, perhaps to the state that it had. */
  recordToggle(post: string, metric: number, actor: Key64, stamp: number): void;
}

/** The recorder of a store without other regions. */
export const NO_CHANGES: ChangeRecorder = {
  keepsRegisters: false,
  now: () => 0,
  recordCount: () => undefined,
  recordToggle: () => undefined,
};

/** Records for copies in other systems what changed. */
export interface ChangedPostsRecorder {
  /** @param before its totals by metric index, before the change */
  record(post: string, before: readonly number[], after: readonly number[], updatedAtMs: number): void;
  /** An actor turned a toggle on or off. */
  recordMember(post: string, metric: number, actor: Key64): void;
  /** Milestones of a metric were reached here, by an operation or not; or by another region, and it says that they are final. */
  recordMilestones(post: string, metric: number, reached: readonly ReachedMilestone[]): void;
}

/** The bucket that a batch is applied to. Reads see earlier writes; the store makes all of them one atomic change. */
export interface Bucket {
  /** The incarnation of the region's store that counts here now. */
  readonly incarnation: RegionIncarnation;
  /** The same as clients see it: the `e` of updates. */
  readonly epoch: string;
  readonly changes: ChangeRecorder;
  /** `null` where nobody asked for changed posts. */
  readonly changedPosts: ChangedPostsRecorder | null;
  readonly milestones: BucketMilestones;
  readonly homes: MilestoneHomes;

  producerState(producerId: string): ProducerState | undefined;
  setProducerState(producerId: string, state: ProducerState): void;

  /** Up to where the events of a log are applied to the bucket; 0: none are. */
  logPosition(log: string): number;
  setLogPosition(log: string, position: number): void;

  post(id: string): PostState | undefined;
  setPost(id: string, state: PostState): void;

  hasMember(post: string, metric: number, actor: Key64): boolean;
  setMember(post: string, metric: number, actor: Key64, on: boolean): void;

  /** The last seq of each session. */
  readonly sessionMarks: Marks;
  /** By forward key: the last seq of a session that was forwarded to a region. */
  readonly forwardMarks: Marks;
  /** By visit key: the second since 1970 at which the actor's last counted visit was accepted. */
  readonly visitMarks: Marks;
}

/** The epoch as clients see it, e.g. `eu.3.k9`. */
export function formatEpoch({ region, epoch, nonce }: RegionIncarnation): string {
  return `${region}.${epoch}.${nonce.toString(36)}`;
}

export function computeTotal(state: MetricState | undefined): number {
  if (state === undefined) return 0;
  return Math.min(state.members + sumEntries(state.counter), COUNT_MAX);
}

/** A time of a last change that is further ahead came from a clock that had run ahead. */
export const TIME_AHEAD_MAX_MS = 60_000;

/** The time of the last change after one at `atMs`. It does not go back because clocks of gateways differ. */
export function nextUpdatedAtMs(beforeMs: number, atMs: number): number {
  return beforeMs > atMs + TIME_AHEAD_MAX_MS ? atMs : Math.max(beforeMs, atMs);
}

/** The metric's state. It is added to the post if there is none yet. */
export function ensureMetricState(post: PostState, metric: number): MetricState {
  while (post.metrics.length <= metric) post.metrics.push({ members: 0, counter: EMPTY_COUNTER });
  return post.metrics[metric]!;
}

export function buildCounts(post: string, e: string, state: PostState | undefined, metrics: Metrics): PostCounts {
  return {
    post,
    e,
    v: state?.v ?? 0,
    updatedAtMs: state === undefined || state.v === 0 ? null : state.updatedAtMs,
    totals: computeTotals(state, metrics),
    live: 0,
  };
}

/** By metric index. */
export function computeTotals(state: PostState | undefined, metrics: Metrics): number[] {
  return metrics.list.map((_, index) => computeTotal(state?.metrics[index]));
}

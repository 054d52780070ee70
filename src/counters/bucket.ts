import type { ProducerState, PostCounts } from './batch.js';
import type { Key64 } from './ids.js';
import type { Metrics } from './metrics.js';
import type { ReplicationState } from './replication/replication-state.js';
import type { ToggleRegister } from './replication/delta.js';
import { COUNT_MAX, EMPTY_COUNTER, type PnCounter, type RegionIncarnation, sumEntries } from './pn-counter.js';

/** One metric of a post. */
export interface MetricState {
  /** How many actors have the toggle on; 0 for a tally. */
  members: number;
  /** A tally's count; a toggle's plain part. */
  counter: PnCounter;
}

export interface PostState {
  v: number;
  updatedAtMs: number;
  /** By metric index; metrics that came later than the record are missing at the end. */
  metrics: MetricState[];
}

/** Session marks live for one to two generations, so old ones expire without being looked for. */
export interface MarkGeneration {
  readonly number: number;
  readonly startedAtMs: number;
  /** Marks written in this generation. */
  readonly marks: number;
}

/** A generation ends after an hour … */
export const MARK_GENERATION_MS = 3_600_000;
/** … or when a bucket has taken this many marks in it, which bounds what sessions can make a store keep. */
export const MARK_GENERATION_MAX = 65_536;

/** What applying a batch needs of a bucket. Reads see the writes before them; a store makes the whole atomic. */
export interface Bucket {
  /** The life of the store that counts here. */
  readonly incarnation: RegionIncarnation;
  /** The same as clients see it: the `e` of updates. */
  readonly epoch: string;
  /** `null` where there are no other regions. */
  readonly replication: ReplicationState | null;

  producerState(producerId: string): ProducerState | undefined;
  setProducerState(producerId: string, state: ProducerState): void;

  post(id: string): PostState | undefined;
  setPost(id: string, state: PostState): void;

  hasMember(post: string, metric: number, actor: Key64): boolean;
  setMember(post: string, metric: number, actor: Key64, on: boolean): void;

  /** Stamp of the actor's last word on the toggle; 0: it is not known any more, or never was. */
  registerStamp(post: string, metric: number, actor: Key64): number;
  setRegisterStamp(post: string, metric: number, actor: Key64, stamp: number): void;
  /** All of a post that are kept, perhaps with some that are not needed any more; and the posts that have some. */
  listRegisters(post: string): ToggleRegister[];
  listPostsWithRegisters(): string[];
  /** All who have the toggle on. */
  listMembers(post: string, metric: number): Key64[];
  /** Has the clock of `replication`, or all of it, written down with the other changes. */
  persistClock(): void;
  persistReplication(): void;

  markGeneration(): MarkGeneration;
  /** Starts a generation: marks of the one before are still found, older ones no more. */
  startMarkGeneration(atMs: number): void;
  /** The last seq of a session in this bucket, 0 if none is known. */
  lastSeq(session: Key64): number;
  setLastSeq(session: Key64, seq: number): void;
}

/** The epoch as clients see it, e.g. `eu.3.k9`. */
export function formatEpoch({ region, epoch, nonce }: RegionIncarnation): string {
  return `${region}.${epoch}.${nonce.toString(36)}`;
}

export function computeTotal(state: MetricState | undefined): number {
  if (state === undefined) return 0;
  return Math.min(state.members + sumEntries(state.counter), COUNT_MAX);
}

/** A time of a last change that is further ahead was taken from a clock that had run ahead. */
export const TIME_AHEAD_MAX_MS = 60_000;

/** Time of the last change, when another one happens at `atMs`: clocks of gateways differ, and it does not go back for that. */
export function nextUpdatedAtMs(beforeMs: number, atMs: number): number {
  return beforeMs > atMs + TIME_AHEAD_MAX_MS ? atMs : Math.max(beforeMs, atMs);
}

/** The metric's state, added to the post if it has none yet. */
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
    totals: metrics.list.map((_, index) => computeTotal(state?.metrics[index])),
    live: 0,
  };
}

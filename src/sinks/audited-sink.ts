import type { Sink } from './sink.js';

/** The sums of one bucket in a sink, all of one instant. */
export interface BucketSums {
  /** Changes with each write. */
  readonly turn: number;
  /** As the store said with the last write; `null` if more was to come. */
  readonly sums: readonly number[] | null;
  /** The sum of the rows less `sums` when both were first known; `null`: not yet. */
  readonly base: readonly number[] | null;
  /** By metric index: the sum of all rows, modulo SUM_MODULUS. `null`: not added up, because there is nothing to compare it with. */
  readonly rows: readonly number[] | null;
  readonly hasDeadRows: boolean;
}

/** A row of a sink. */
export interface AuditedRow {
  readonly epoch: number;
  readonly v: number;
  readonly totals: readonly number[];
}

/** A sink that can be compared with the store. */
export interface AuditedSink extends Sink {
  readSums(bucket: number): Promise<BucketSums>;
  keepBase(bucket: number, turn: number, base: readonly number[]): Promise<void>;
  /** By post; posts without a row are left out. */
  readCounts(posts: readonly string[]): Promise<ReadonlyMap<string, AuditedRow>>;
  /** Those of the posts whose newest rows were rejected. */
  findDead(posts: readonly string[]): Promise<ReadonlySet<string>>;
  /** Has all posts of these buckets sent again, which corrects their rows. */
  syncAgain(buckets: readonly number[]): Promise<void>;
}

/** Whether a sink can be compared with the store. */
export function isAudited(sink: Sink): sink is AuditedSink {
  return 'readSums' in sink;
}

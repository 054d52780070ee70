import type { PostCounts } from '../counters/batch.js';
import { bucketOf } from '../counters/bucket-of.js';
import { SUM_MODULUS } from '../counters/changed-posts.js';
import type { Metrics } from '../counters/metrics.js';
import { compareIncarnations, type Incarnation } from '../counters/pn-counter.js';
import type { ChangeStore } from '../store/change-store.js';
import type { AuditedRow, AuditedSink, BucketSums } from './audited-sink.js';
import { readProgress } from './until-current.js';

/** Posts that are compared at once. */
export const PAGE_POSTS = 500;

/** The rows of a bucket do not add up to the changes of the store. */
export interface SumsDrift {
  readonly arm: 'sums';
  readonly bucket: number;
  readonly metric: string;
  readonly difference: number;
}

/** A post has other counts in the store. */
export interface RowsDrift {
  readonly arm: 'rows';
  readonly post: string;
  readonly store: AuditedRow;
  readonly sink: AuditedRow | null;
}

/** Something that differs. */
export type Drift = SumsDrift | RowsDrift;

export interface AuditChecksOptions {
  readonly buckets: number;
  readonly metrics: Metrics;
}

/** The comparisons of a sink with the store, in two ways that do not share their errors. */
export class AuditChecks {
  constructor(
    private readonly store: Pick<ChangeStore, 'changesSince'>,
    private readonly sink: AuditedSink,
    private readonly options: AuditChecksOptions,
  ) {}

  /**
   * Compares the sum of all changes of a bucket with the sum of its rows. The first time it notes their difference.
   * @returns `busy`: the bucket is written just now; `dead`: its rows cannot add up, because some were rejected
   */
  async compareSums(bucket: number): Promise<readonly SumsDrift[] | 'busy' | 'dead'> {
    const { turn, sums, base, rows, hasDeadRows } = await this.sink.readSums(bucket);
    if (hasDeadRows) return 'dead';
    if (sums === null || rows === null) return 'busy';
    const differences = rows.map((sum, metric) => subtract(sum, sums[metric] ?? 0));
    if (base !== null) return this.#describeSums(bucket, differences, base);
    await this.sink.keepBase(bucket, turn, differences);
    return [];
  }

  /** @returns those of the posts with other rows. Most of them are late. Rows that are newer have changed since the posts were read */
  async findOther(posts: readonly PostCounts[]): Promise<PostCounts[]> {
    return (await this.#compareRows(posts)).map(({ counts }) => counts);
  }

  /** To be called for posts with other rows, once the sink has had everything that the store had when they were read. */
  async compareAgain(posts: readonly PostCounts[]): Promise<readonly RowsDrift[]> {
    const other = await this.findOther(posts);
    if (other.length === 0) return [];
    // Read before the rows: a post that is not dead has its row from then on.
    const dead = await this.sink.findDead(other.map(({ post }) => post));
    const wrong = await this.#compareRows(other.filter(({ post }) => !dead.has(post)));
    const pages = await readProgress(this.store, new Set(wrong.map(({ counts }) => this.bucketOf(counts))));
    const current = new Map(pages.map(({ bucket, starts }) => [bucket, starts.at(-1)!]));
    return wrong
      .filter(({ counts }) => isOf(counts, current.get(this.bucketOf(counts))!))
      .map(({ counts, row }) => ({ arm: 'rows', post: counts.post, store: toRow(counts), sink: row }));
  }

  bucketOf({ post }: Pick<PostCounts, 'post'>): number {
    return bucketOf(post, this.options.buckets);
  }

  async #compareRows(
    posts: readonly PostCounts[],
  ): Promise<{ readonly counts: PostCounts; readonly row: AuditedRow | null }[]> {
    if (posts.length === 0) return [];
    const rows = await this.sink.readCounts(posts.map(({ post }) => post));
    return posts
      .map((counts) => ({ counts, row: rows.get(counts.post) ?? null }))
      .filter(({ counts, row }) => row === null || !(isNewer(row, toRow(counts)) || isAlike(row, toRow(counts))));
  }

  #describeSums(
    bucket: number,
    differences: readonly number[],
    base: NonNullable<BucketSums['base']>,
  ): readonly SumsDrift[] {
    return this.options.metrics.list.flatMap(({ name, index }): SumsDrift[] => {
      const difference = subtract(differences[index] ?? 0, base[index] ?? 0);
      if (difference === 0) return [];
      const signed = difference > SUM_MODULUS / 2 ? difference - SUM_MODULUS : difference;
      return [{ arm: 'sums', bucket, metric: name, difference: signed }];
    });
  }
}

function toRow({ e, v, totals }: PostCounts): AuditedRow {
  return { epoch: parseIncarnation(e).epoch, v, totals };
}

/** Whether a post was read in an incarnation. A later one may have lost it. */
function isOf({ e }: PostCounts, incarnation: Incarnation): boolean {
  return compareIncarnations(parseIncarnation(e), incarnation) === 'same';
}

/** See formatEpoch. */
function parseIncarnation(e: string): Incarnation {
  const [, epoch, nonce] = e.split('.') as [string, string, string];
  return { epoch: Number(epoch), nonce: Number.parseInt(nonce, 36) };
}

function isNewer(row: AuditedRow, other: AuditedRow): boolean {
  return row.epoch > other.epoch || (row.epoch === other.epoch && row.v > other.v);
}

/** A failover without a loss leaves rows with an earlier epoch. */
function isAlike(row: AuditedRow, other: AuditedRow): boolean {
  return row.v === other.v && other.totals.every((total, metric) => total === row.totals[metric]);
}

function subtract(sum: number, other: number): number {
  return (sum - other + SUM_MODULUS) % SUM_MODULUS;
}

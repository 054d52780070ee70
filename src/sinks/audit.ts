import type { Clock } from '../common/clock.js';
import { sleep } from '../common/sleep.js';
import type { PostCounts } from '../counters/batch.js';
import { bucketOf } from '../counters/bucket-of.js';
import { SUM_MODULUS } from '../counters/changed-posts.js';
import type { Metrics } from '../counters/metrics.js';
import { compareIncarnations } from '../counters/pn-counter.js';
import type { ChangeStore } from '../store/change-store.js';
import type { Sink } from './sink.js';

/** Posts that are compared at once. */
const PAGE_POSTS = 500;
/** A bucket that changes all the time is read again after this, … */
const PAUSE_MS = 250;
/** … this often. */
const TRIES_MAX = 120;
/** Above every seq: what a store returns for it has no posts. */
const NO_POSTS_AFTER = 2 ** 52;

/** The sums of one bucket in a sink, all of one instant. */
export interface BucketSums {
  /** Changes with each write. */
  readonly turn: number;
  /** As the store said with the last write; `null` if more was to come. */
  readonly sums: readonly number[] | null;
  /** The sum of the rows less `sums` when both were first known; `null`: not yet. */
  readonly base: readonly number[] | null;
  /** By metric index: the sum of all rows, modulo SUM_MODULUS. */
  readonly rows: readonly number[];
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
  /** Has all posts of these buckets sent again, which corrects their rows. */
  syncAgain(buckets: readonly number[]): Promise<void>;
}

/** Something that differs. `sums`: the rows of a bucket do not add up. `rows`: a post has other counts in the store. */
export type Drift =
  | { readonly arm: 'sums'; readonly bucket: number; readonly metric: string; readonly difference: number }
  | { readonly arm: 'rows'; readonly post: string; readonly store: AuditedRow; readonly sink: AuditedRow | null };

export interface AuditSummary {
  readonly buckets: number;
  /** Buckets whose sums could not be compared, because they have dead rows or never stood still. */
  readonly skippedBuckets: number;
  readonly posts: number;
  readonly drift: number;
  /** Buckets whose posts are sent again, because something differs. */
  readonly syncedAgain: number;
}

export interface AuditOptions {
  readonly buckets: number;
  readonly metrics: Metrics;
  readonly clock: Clock;
  /** Whether buckets in which something differs are sent again. */
  readonly repairs: boolean;
  /** The audit waits for it, so that it is not faster than its reader. */
  readonly report: (drift: Drift) => Promise<void>;
  /** Ends the audit early. */
  readonly signal: AbortSignal;
}

/**
 * Compares a sink with the store by two ways that do not share their errors: sums of all changes with sums of all rows, and each post
 * with its row.
 *
 * Cost: all rows are added up once, and all posts and rows are read once, a page of 500 at a time.
 */
export class Audit {
  #skippedBuckets = 0;
  #posts = 0;
  #drift = 0;
  readonly #wrongBuckets = new Set<number>();

  constructor(
    private readonly store: ChangeStore,
    private readonly sink: AuditedSink,
    private readonly options: AuditOptions,
  ) {}

  async run(): Promise<AuditSummary> {
    const { buckets, signal } = this.options;
    // Checks whose counts the sink has.
    await this.sink.readPositions();
    for (let bucket = 0; bucket < buckets && !signal.aborted; bucket++) await this.#checkSums(bucket);
    const all = new Set(Array.from({ length: buckets }, (_, bucket) => bucket));
    for (let cursor: string | null = ''; cursor !== null && !signal.aborted;) {
      const page = await this.store.readAll(all, cursor, PAGE_POSTS);
      await this.#checkRows(page.posts);
      cursor = page.next;
    }
    const wrong = this.options.repairs ? [...this.#wrongBuckets] : [];
    if (wrong.length > 0) await this.sink.syncAgain(wrong);
    return {
      buckets,
      skippedBuckets: this.#skippedBuckets,
      posts: this.#posts,
      drift: this.#drift,
      syncedAgain: wrong.length,
    };
  }

  async #checkSums(bucket: number): Promise<void> {
    for (let tries = 0; tries < TRIES_MAX && !this.options.signal.aborted; tries++) {
      const { turn, sums, base, rows, hasDeadRows } = await this.sink.readSums(bucket);
      if (hasDeadRows) break;
      if (sums !== null) {
        const differences = rows.map((sum, metric) => subtract(sum, sums[metric] ?? 0));
        if (base === null) await this.sink.keepBase(bucket, turn, differences);
        else await this.#compareSums(bucket, differences, base);
        return;
      }
      await sleep(this.options.clock, PAUSE_MS);
    }
    this.#skippedBuckets += 1;
  }

  async #compareSums(bucket: number, differences: readonly number[], base: readonly number[]): Promise<void> {
    for (const { name, index } of this.options.metrics.list) {
      const difference = subtract(differences[index] ?? 0, base[index] ?? 0);
      if (difference === 0) continue;
      const signed = difference > SUM_MODULUS / 2 ? difference - SUM_MODULUS : difference;
      await this.#report(bucket, { arm: 'sums', bucket, metric: name, difference: signed });
    }
  }

  async #checkRows(posts: readonly PostCounts[]): Promise<void> {
    this.#posts += posts.length;
    const behind = await this.#findOther(posts, false);
    if (behind.length === 0) return;
    await this.#untilCurrent(new Set(behind.map(({ post }) => bucketOf(post, this.options.buckets))));
    await this.#findOther(behind, true);
  }

  /**
   * @param isCurrent whether the sink has had the time to get what the store has: rows that are older are wrong then
   * @returns posts with other rows. Rows that are newer have changed since the posts were read
   */
  async #findOther(posts: readonly PostCounts[], isCurrent: boolean): Promise<PostCounts[]> {
    if (posts.length === 0) return [];
    const rows = await this.sink.readCounts(posts.map(({ post }) => post));
    const other: PostCounts[] = [];
    for (const counts of posts) {
      const { post, v, totals } = counts;
      const row = rows.get(post) ?? null;
      const wanted = { epoch: readEpoch(counts), v, totals };
      if (row !== null && (isNewer(row, wanted) || isAlike(row, wanted))) continue;
      other.push(counts);
      if (!isCurrent) continue;
      await this.#report(bucketOf(post, this.options.buckets), { arm: 'rows', post, store: wanted, sink: row });
    }
    return other;
  }

  /** Resolves when the sink has what the store had when this was called. @throws Error if that takes half a minute */
  async #untilCurrent(buckets: ReadonlySet<number>): Promise<void> {
    const requests = [...buckets].map((bucket) => ({ bucket, after: NO_POSTS_AFTER }));
    const wanted = await this.store.changesSince(requests, { limit: 1, withMembers: false });
    for (let tries = 0; tries < TRIES_MAX && !this.options.signal.aborted; tries++) {
      const positions = await this.sink.readPositions();
      const isCurrent = wanted.every(({ bucket, starts, upTo }) => {
        const position = positions.get(bucket);
        if (position === undefined) return false;
        const order = compareIncarnations(position, starts.at(-1)!);
        return order === 'newer' || (order === 'same' && position.upTo >= upTo);
      });
      if (isCurrent) return;
      await sleep(this.options.clock, PAUSE_MS);
    }
    throw new Error(
      `${this.sink.name} does not get what the store has: see tallycast_sink_up and tallycast_sink_halted`,
    );
  }

  async #report(bucket: number, drift: Drift): Promise<void> {
    this.#drift += 1;
    this.#wrongBuckets.add(bucket);
    await this.options.report(drift);
  }
}

/** Whether a sink can be compared with the store. */
export function isAudited(sink: Sink): sink is AuditedSink {
  return 'readSums' in sink;
}

/** The epoch's number in `e`: see formatEpoch. */
function readEpoch({ e }: PostCounts): number {
  return Number(e.split('.')[1]);
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

import { groupBy } from '../common/grouping.js';
import type { PostCounts } from '../counters/batch.js';
import { bucketOf } from '../counters/bucket-of.js';
import { NOT_SYNCED } from '../counters/changed-posts.js';
import { compareIncarnations, type Incarnation } from '../counters/pn-counter.js';
import type { ChangePage, ChangeStore } from '../store/change-store.js';
import type { BucketWrite } from './sink.js';

/** Posts of a page. The changes of all buckets are written with each page, so that a long run does not fall behind them. */
const PAGE_POSTS = 500;

interface SyncedBucket {
  /** The bucket's incarnation when the run began. */
  readonly incarnation: Incarnation;
  /** The sink has what changed up to this seq since the run began. */
  upTo: number;
}

/**
 * Full syncs of some buckets at once. All their posts are read page by page while their changes go on; the first complete page of
 * changes after the last page of posts ends the full sync of its bucket. Changes are read after each page of posts, so if they are of
 * the same incarnation as before, so are the posts.
 */
export class FullSyncRun {
  readonly #buckets = new Map<number, SyncedBucket>();
  /** The buckets whose posts are read, all that were added: a cursor is valid for these. `null`: no page was read yet. */
  #readBuckets: ReadonlySet<number> | null = null;
  #cursor: string | null = '';
  /** By bucket: posts of the last page. */
  #page: ReadonlyMap<number, readonly PostCounts[]> = new Map();

  constructor(
    private readonly store: Pick<ChangeStore, 'readAll'>,
    private readonly bucketCount: number,
  ) {}

  get isEmpty(): boolean {
    return this.#buckets.size === 0;
  }

  /** Whether buckets may be added: no page was read yet. */
  get accepts(): boolean {
    return this.#readBuckets === null;
  }

  /** Adds a bucket, at most once, while the run accepts some. */
  add({ bucket, starts, upTo }: ChangePage): void {
    this.#buckets.set(bucket, { incarnation: starts.at(-1)!, upTo });
  }

  has(bucket: number): boolean {
    return this.#buckets.has(bucket);
  }

  /** The seq after which the bucket's next changes are to be read; `undefined`: it is not in the run. */
  upTo(bucket: number): number | undefined {
    return this.#buckets.get(bucket)?.upTo;
  }

  /** Reads the next page of posts. Then the changes of all buckets are to be read, and taken. */
  async readPage(): Promise<void> {
    this.#page = new Map();
    if (this.#cursor === null || this.isEmpty) return;
    this.#readBuckets ??= new Set(this.#buckets.keys());
    const { posts, next } = await this.store.readAll(this.#readBuckets, this.#cursor, PAGE_POSTS);
    this.#cursor = next;
    this.#page = groupBy(posts, ({ post }) => bucketOf(post, this.bucketCount));
  }

  /**
   * Takes changes of a bucket that is in the run.
   * @returns their write, with the bucket's posts of the page; `null`: there is nothing to write, or the run of this bucket is void,
   * because its incarnation is over or changes were dropped
   */
  take(changes: ChangePage): BucketWrite | null {
    const { bucket, starts, isComplete, upTo, changedAtMs, sums, droppedUpTo } = changes;
    const synced = this.#buckets.get(bucket)!;
    const { epoch, nonce } = starts.at(-1)!;
    if (compareIncarnations({ epoch, nonce }, synced.incarnation) !== 'same' || synced.upTo < droppedUpTo) {
      this.#buckets.delete(bucket);
      return null;
    }
    synced.upTo = upTo;
    const endsFullSync = isComplete && this.#cursor === null;
    if (endsFullSync) this.#buckets.delete(bucket);
    const posts = newestStates(this.#page.get(bucket) ?? [], changes.posts);
    if (posts.length === 0 && !endsFullSync) return null;
    const position = { epoch, nonce, upTo: endsFullSync ? upTo : NOT_SYNCED, changedAtMs };
    return { bucket, epoch, posts, position, sums: endsFullSync ? sums : null, endsFullSync };
  }
}

/** Each post once, as it was read last. */
function newestStates(before: readonly PostCounts[], after: readonly PostCounts[]): PostCounts[] {
  return [...new Map([...before, ...after].map((counts) => [counts.post, counts])).values()];
}

import { groupBy } from '../common/grouping.js';
import { bucketOf } from '../counters/bucket-of.js';
import { compareIncarnations, type Incarnation } from '../counters/pn-counter.js';
import type { ChangePage, ChangeStore } from '../store/change-store.js';
import type { BucketWrite } from './sink.js';

/** Posts of a page. The changes of all buckets are written between two pages, so that a long run does not fall behind them. */
const PAGE_POSTS = 500;

interface SyncedBucket {
  /** The bucket's incarnation when the run began. */
  readonly incarnation: Incarnation;
  /** The sink has what changed up to this seq since the run began. */
  upTo: number;
}

/**
 * Full syncs of some buckets at once. All their posts are read page by page while their changes go on; the first complete page of
 * changes after the last page of posts ends the full sync of its bucket.
 */
export class FullSyncRun {
  readonly #buckets = new Map<number, SyncedBucket>();
  #cursor: string | null = '';

  constructor(
    private readonly store: ChangeStore,
    private readonly bucketCount: number,
  ) {}

  get isEmpty(): boolean {
    return this.#buckets.size === 0;
  }

  /** Whether buckets may be added: no page was read yet. */
  get accepts(): boolean {
    return this.#cursor === '';
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

  /** @returns the writes of the next page of posts */
  async nextPage(): Promise<BucketWrite[]> {
    if (this.#cursor === null || this.isEmpty) return [];
    const { posts, next } = await this.store.readAll(new Set(this.#buckets.keys()), this.#cursor, PAGE_POSTS);
    this.#cursor = next;
    const byBucket = groupBy(posts, ({ post }) => bucketOf(post, this.bucketCount));
    return [...byBucket].flatMap(([bucket, counts]) => {
      const synced = this.#buckets.get(bucket);
      if (synced === undefined) return [];
      const { epoch } = synced.incarnation;
      return [{ bucket, epoch, posts: counts, position: null, sums: null, endsFullSync: false }];
    });
  }

  /**
   * Takes changes of a bucket that is in the run.
   * @returns their write; `null`: the run of this bucket is void, because its incarnation is over or changes were dropped
   */
  take(page: ChangePage): BucketWrite | null {
    const { bucket, starts, posts, isComplete, upTo, changedAtMs, sums, droppedUpTo } = page;
    const synced = this.#buckets.get(bucket)!;
    const current = starts.at(-1)!;
    if (compareIncarnations(current, synced.incarnation) !== 'same' || synced.upTo < droppedUpTo) {
      this.#buckets.delete(bucket);
      return null;
    }
    synced.upTo = upTo;
    const { epoch, nonce } = current;
    const endsFullSync = isComplete && this.#cursor === null;
    if (endsFullSync) this.#buckets.delete(bucket);
    const position = endsFullSync ? { epoch, nonce, upTo, changedAtMs } : null;
    return { bucket, epoch, posts, position, sums: endsFullSync ? sums : null, endsFullSync };
  }
}

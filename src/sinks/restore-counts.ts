import type { Clock } from '../common/clock.js';
import { groupBy, pages } from '../common/grouping.js';
import { sleep } from '../common/sleep.js';
import type { Batch } from '../counters/batch.js';
import { bucketOf } from '../counters/bucket-of.js';
import type { Metrics } from '../counters/metrics.js';
import type { Operation } from '../counters/operation.js';
import type { CopyableStore } from '../store/change-store.js';

/** Operations of a batch, as a gateway commits them. */
const BATCH_OPERATIONS_MAX = 500;
/** Half a minute of a store that is down, which a failover takes at most. */
const ATTEMPTS_MAX = 30;
const RETRY_MS = 1_000;

/** A post as a copy of the counts has it. */
export interface CopiedPost {
  readonly post: string;
  /** By metric index. */
  readonly totals: readonly number[];
}

export interface RestoreOptions {
  readonly metrics: Metrics;
  readonly buckets: number;
  /** 64 random bits: of the producer whose batches these are. */
  readonly producerId: string;
  readonly clock: Clock;
}

/**
 * Commits counts of a copy to an empty store. A restore that was cut off cannot go on: its store is to be emptied first.
 *
 * Cost: an operation for each count above zero.
 */
export class CountsRestore {
  /** By bucket: the number of its last batch. */
  readonly #batchNumbers: number[];
  #posts = 0;

  constructor(
    private readonly store: CopyableStore,
    private readonly options: RestoreOptions,
  ) {
    this.#batchNumbers = new Array<number>(options.buckets).fill(0);
  }

  /** How many posts were restored. */
  get posts(): number {
    return this.#posts;
  }

  /** @throws Error unless the store has no posts */
  async requireEmpty(): Promise<void> {
    const all = new Set(this.#batchNumbers.keys());
    for (let cursor: string | null = ''; cursor !== null;) {
      const page = await this.store.changeStore.readAll(all, cursor, 1);
      if (page.posts.length > 0) {
        throw new Error(`the store has counts, such as those of ${page.posts[0]!.post}: restore into an empty one`);
      }
      cursor = page.next;
    }
  }

  /** Resolves when the posts are durable. Each post is to be given once. */
  async add(posts: readonly CopiedPost[]): Promise<void> {
    const { buckets } = this.options;
    const byBucket = groupBy(posts, ({ post }) => bucketOf(post, buckets));
    await Promise.all([...byBucket].map(([bucket, ofBucket]) => this.#commit(bucket, ofBucket)));
    this.#posts += posts.length;
  }

  async #commit(bucket: number, posts: readonly CopiedPost[]): Promise<void> {
    const operations = posts.flatMap((post) => this.#toOperations(post));
    for (const batch of pages(operations, BATCH_OPERATIONS_MAX)) {
      const batchNumber = (this.#batchNumbers[bucket]! += 1);
      const { producerId, clock } = this.options;
      await this.#commitOne({ bucket, producerId, batchNumber, atMs: clock.wallMs(), operations: batch });
    }
  }

  /** The store applies a batch once, however often it is sent. */
  async #commitOne(batch: Batch): Promise<void> {
    for (let attempt = 1; ; attempt++) {
      try {
        await this.store.commit(batch);
        return;
      } catch (error) {
        if (attempt === ATTEMPTS_MAX) throw error;
        await sleep(this.options.clock, RETRY_MS);
      }
    }
  }

  /** The likes of a copy without members become an anonymous count. */
  #toOperations({ post, totals }: CopiedPost): Operation[] {
    return this.options.metrics.list.flatMap(({ kind, index }): Operation[] => {
      const value = totals[index] ?? 0;
      if (value === 0) return [];
      const count = kind.hasMembers ? 'adjust' : 'add';
      return [{ post, metric: index, kind: count, value, actor: null, session: null, seq: 0 }];
    });
  }
}

import type { Clock } from '../../common/clock.js';
import { groupBy, pages } from '../../common/grouping.js';
import { sleep } from '../../common/sleep.js';
import { bucketOf } from '../../counters/bucket-of.js';
import type { Key64 } from '../../counters/ids.js';
import type { PostView } from '../counter-store.js';
import type { CounterScripts } from './counter-scripts.js';

/** Posts that one call reads, so that no script keeps the server for more than about a millisecond. */
const CALL_POSTS_MAX = 250;
/** How long a read is retried, less than a client waits for an operation. The last attempt may take as long as a command. */
const RETRY_WITHIN_MS = 3_000;
const RETRY_PAUSE_MS = 100;

/** Posts of one bucket that one call reads. */
export interface PostPage {
  readonly bucket: number;
  readonly posts: readonly string[];
}

/** Reads posts from the buckets that they are in. */
export class PostReader {
  #isClosed = false;

  constructor(
    private readonly scripts: CounterScripts,
    private readonly buckets: number,
    private readonly clock: Clock,
  ) {}

  /** Views by post. A failover, or a slot that moves, delays them and is not an error. */
  async read(posts: Iterable<string>, actor: Key64 | null): Promise<Map<string, PostView>> {
    const views = await Promise.all(this.splitByBucket(posts).map((page) => this.#readWithRetries(page, actor)));
    return new Map(views.flat().map((view) => [view.counts.post, view]));
  }

  splitByBucket(posts: Iterable<string>): PostPage[] {
    const byBucket = groupBy(posts, (post) => bucketOf(post, this.buckets));
    return [...byBucket].flatMap(([bucket, group]) =>
      pages(group, CALL_POSTS_MAX).map((page) => ({ bucket, posts: page })),
    );
  }

  /** Tries once. @returns the views in any order */
  async readPage({ bucket, posts }: PostPage, actor: Key64 | null): Promise<PostView[]> {
    const { isCurrent, views } = await this.scripts.read(bucket, posts, actor);
    if (isCurrent) return views;
    await this.scripts.open(bucket);
    return (await this.scripts.read(bucket, posts, actor)).views;
  }

  /** Ends retries. */
  close(): void {
    this.#isClosed = true;
  }

  async #readWithRetries(page: PostPage, actor: Key64 | null): Promise<PostView[]> {
    const endMs = this.clock.nowMs() + RETRY_WITHIN_MS;
    for (;;) {
      try {
        return await this.readPage(page, actor);
      } catch (error) {
        if (this.#isClosed || this.clock.nowMs() > endMs) throw error;
      }
      await sleep(this.clock, RETRY_PAUSE_MS);
    }
  }
}

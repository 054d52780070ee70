import type { ChangedPostsRecorder } from '../../src/counters/bucket.js';
import { ChangeFeed } from '../../src/counters/change-feed.js';
import {
  ChangedPosts,
  type ChangedPostsState,
  type CollectedPosts,
  newChangedPostsState,
} from '../../src/counters/changed-posts.js';
import type { Incarnation } from '../../src/counters/pn-counter.js';

/** The change record of a bucket in memory, with its posts: a copy of the bucket has a copy of them, as a replica has. */
export class MemoryChangeRecord implements ChangedPostsRecorder {
  readonly posts: ChangedPosts;

  private constructor(
    private readonly bucket: { readonly incarnation: Incarnation },
    state: ChangedPostsState,
    private readonly feed: ChangeFeed,
  ) {
    this.posts = new ChangedPosts(state, feed);
  }

  static start(bucket: { readonly incarnation: Incarnation }, seq: number, metricCount: number): MemoryChangeRecord {
    return new MemoryChangeRecord(bucket, newChangedPostsState(seq, metricCount), new ChangeFeed(seq - 1));
  }

  record(post: string, before: readonly number[], after: readonly number[], updatedAtMs: number): void {
    this.posts.startIncarnation(this.bucket.incarnation);
    this.posts.record(post, before, after, updatedAtMs);
  }

  collect(after: number, limit: number): CollectedPosts {
    this.posts.startIncarnation(this.bucket.incarnation);
    return this.posts.collect(after, limit);
  }

  copy(bucket: { readonly incarnation: Incarnation }): MemoryChangeRecord {
    const { state } = this.posts;
    const feed = new ChangeFeed(this.feed.droppedUpTo);
    for (const { post, stamp } of this.feed.entriesAfter(0, Infinity).entries) feed.recordCount(post, stamp);
    return new MemoryChangeRecord(bucket, { ...state, sums: [...state.sums] }, feed);
  }
}

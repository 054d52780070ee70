import type { ChangedPostsRecorder } from '../../src/counters/bucket.js';
import { ChangeFeed } from '../../src/counters/change-feed.js';
import {
  ChangedPosts,
  type ChangedPostsState,
  type CollectedPosts,
  newChangedPostsState,
  POSTS_PER_SEQ,
  reopenChangedPosts,
} from '../../src/counters/changed-posts.js';
import type { Incarnation } from '../../src/counters/pn-counter.js';

/** The limits and the start of a record. Simulations have small ones, and plant faults. */
export interface ChangeRecordRules {
  readonly newFeed: (startsAt: number) => ChangeFeed;
  readonly postsPerSeq: number;
  /** The first seq of a record that starts after another one was stopped at a seq. */
  readonly firstSeq: (stoppedAtSeq: number) => number;
}

export const CHANGE_RECORD_RULES: ChangeRecordRules = {
  newFeed: (startsAt) => new ChangeFeed(startsAt),
  postsPerSeq: POSTS_PER_SEQ,
  firstSeq: (stoppedAtSeq) => stoppedAtSeq + 1,
};

interface RecordedBucket {
  readonly incarnation: Incarnation;
  readonly stoppedAtSeq: number;
}

/** The change record of a bucket in memory, with its posts: a copy of the bucket has a copy of them, as a replica has. */
export class MemoryChangeRecord implements ChangedPostsRecorder {
  readonly posts: ChangedPosts;

  private constructor(
    private readonly bucket: RecordedBucket,
    state: ChangedPostsState,
    readonly feed: ChangeFeed,
    private readonly rules: ChangeRecordRules,
  ) {
    this.posts = new ChangedPosts(state, feed, rules.postsPerSeq);
  }

  static start(bucket: RecordedBucket, metricCount: number, rules: ChangeRecordRules): MemoryChangeRecord {
    const seq = rules.firstSeq(bucket.stoppedAtSeq);
    return new MemoryChangeRecord(bucket, newChangedPostsState(seq, metricCount), rules.newFeed(seq - 1), rules);
  }

  record(post: string, before: readonly number[], after: readonly number[], updatedAtMs: number): void {
    this.posts.startIncarnation(this.bucket.incarnation);
    this.posts.record(post, before, after, updatedAtMs);
  }

  collect(after: number, limit: number): CollectedPosts {
    this.posts.startIncarnation(this.bucket.incarnation);
    return this.posts.collect(after, limit);
  }

  copy(bucket: RecordedBucket): MemoryChangeRecord {
    const { state } = this.posts;
    const feed = this.rules.newFeed(this.feed.droppedUpTo);
    for (const { post, stamp } of this.feed.entriesAfter(0, Infinity).entries) feed.recordCount(post, stamp);
    return new MemoryChangeRecord(bucket, { ...state, sums: [...state.sums] }, feed, this.rules);
  }

  /** The record of a store that keeps only its numbers, after it was opened again in this incarnation. */
  reopen(incarnation: Incarnation): MemoryChangeRecord {
    const { state, droppedUpTo } = reopenChangedPosts(this.posts.state, incarnation);
    return new MemoryChangeRecord(this.bucket, state, this.rules.newFeed(droppedUpTo), this.rules);
  }
}

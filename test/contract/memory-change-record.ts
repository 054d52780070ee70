import type { ChangedPostsRecorder } from '../../src/counters/bucket.js';
import { ChangeFeed, readMilestone } from '../../src/counters/change-feed.js';
import {
  ChangedPosts,
  type ChangedPostsState,
  type CollectedChanges,
  feedMax,
  newChangedPostsState,
  ENTRIES_PER_SEQ,
  type ProvisionalMilestone,
  type ReopenedChangedPosts,
  reopenChangedPosts,
  startMembers,
} from '../../src/counters/changed-posts.js';
import type { Key64 } from '../../src/counters/ids.js';
import { isFinal, type MilestoneKey, type ReachedMilestone } from '../../src/counters/milestones.js';
import type { Incarnation } from '../../src/counters/pn-counter.js';
import type { CollectOptions } from '../../src/store/change-store.js';
import type { MemoryMilestones } from './memory-milestones.js';

/** The limits and the start of a record. Simulations have small ones, and plant faults. */
export interface ChangeRecordRules {
  readonly newFeed: (startsAt: number, max: number) => ChangeFeed;
  readonly feedMax: (state: ChangedPostsState) => number;
  readonly entriesPerSeq: number;
  /** The first seq of a record that starts after another one was stopped at a seq. */
  readonly firstSeq: (stoppedAtSeq: number) => number;
  /** @param droppedUpTo of the record without members */
  readonly startMembers: (
    state: ChangedPostsState,
    incarnation: Incarnation,
    droppedUpTo: number,
  ) => ReopenedChangedPosts;
  /** Whether no failover can lose the record of a milestone any more. */
  readonly isRecordFinal: (record: ProvisionalMilestone, nowMs: number) => boolean;
}

export const CHANGE_RECORD_RULES: ChangeRecordRules = {
  newFeed: (startsAt, max) => new ChangeFeed(startsAt, max),
  feedMax,
  entriesPerSeq: ENTRIES_PER_SEQ,
  firstSeq: (stoppedAtSeq) => stoppedAtSeq + 1,
  startMembers,
  isRecordFinal: isFinal,
};

interface RecordedBucket {
  readonly incarnation: Incarnation;
  readonly stoppedAtSeq: number;
  readonly milestones: MemoryMilestones;
}

/** The change record of a bucket in memory, with its posts: a copy of the bucket has a copy of them, as a replica has. */
export class MemoryChangeRecord implements ChangedPostsRecorder {
  posts: ChangedPosts;
  feed: ChangeFeed;

  private constructor(
    private readonly bucket: RecordedBucket,
    { state, droppedUpTo }: ReopenedChangedPosts,
    private readonly rules: ChangeRecordRules,
  ) {
    this.feed = rules.newFeed(droppedUpTo, rules.feedMax(state));
    this.posts = this.#openPosts(state);
  }

  static start(bucket: RecordedBucket, metricCount: number, rules: ChangeRecordRules): MemoryChangeRecord {
    const seq = rules.firstSeq(bucket.stoppedAtSeq);
    const nowMs = bucket.milestones.nowMs();
    const provisional = bucket.milestones.listReached().filter((one) => !rules.isRecordFinal(one, nowMs));
    const state = newChangedPostsState(seq, metricCount, provisional);
    return new MemoryChangeRecord(bucket, { state, droppedUpTo: seq - 1 }, rules);
  }

  record(post: string, before: readonly number[], after: readonly number[], updatedAtMs: number): void {
    this.posts.startIncarnation(this.bucket.incarnation);
    this.posts.record(post, before, after, updatedAtMs);
  }

  recordMember(post: string, metric: number, actor: Key64): void {
    this.posts.startIncarnation(this.bucket.incarnation);
    this.posts.recordMember(post, metric, actor);
  }

  recordMilestones(post: string, metric: number, reached: readonly ReachedMilestone[]): void {
    this.posts.startIncarnation(this.bucket.incarnation);
    this.posts.recordMilestones(post, metric, reached, this.bucket.milestones.nowMs());
  }

  collect(after: number, { limit, withMembers }: CollectOptions): CollectedChanges {
    if (withMembers && !this.posts.state.recordsMembers) this.#startMembers();
    this.posts.startIncarnation(this.bucket.incarnation);
    return this.posts.collect(after, limit, this.bucket.milestones.nowMs());
  }

  /** Whether the record of a milestone may still be lost, as far as is known here. */
  isProvisional({ post, metric, n }: MilestoneKey): boolean {
    return this.posts.state.provisional.some((one) => one.post === post && one.metric === metric && one.n === n);
  }

  copy(bucket: RecordedBucket): MemoryChangeRecord {
    const { state } = this.posts;
    const { droppedUpTo } = this.feed;
    const copy = new MemoryChangeRecord(
      bucket,
      { state: { ...state, sums: [...state.sums] }, droppedUpTo },
      this.rules,
    );
    copy.#addEntries(this.feed);
    return copy;
  }

  /** The record of a store that keeps only its numbers, after it was opened again in this incarnation. */
  reopen(incarnation: Incarnation): MemoryChangeRecord {
    return new MemoryChangeRecord(this.bucket, reopenChangedPosts(this.posts.state, incarnation), this.rules);
  }

  #startMembers(): void {
    const { bucket, feed, rules } = this;
    const { state, droppedUpTo } = rules.startMembers(this.posts.state, bucket.incarnation, feed.droppedUpTo);
    this.feed = rules.newFeed(droppedUpTo, rules.feedMax(state));
    this.posts = this.#openPosts(state);
    this.#addEntries(feed);
  }

  #openPosts(state: ChangedPostsState): ChangedPosts {
    const { entriesPerSeq, isRecordFinal } = this.rules;
    return new ChangedPosts(state, this.feed, entriesPerSeq, isRecordFinal);
  }

  /** Takes over the entries that were not dropped. */
  #addEntries(feed: ChangeFeed): void {
    for (const entry of feed.entriesAfter(this.feed.droppedUpTo, Infinity).entries) {
      const { post, metric, actor, stamp } = entry;
      const milestone = readMilestone(entry);
      if (milestone !== null) this.feed.recordMilestone(milestone, stamp);
      else if (actor === null) this.feed.recordCount(post, stamp);
      else this.feed.recordToggle(post, metric, actor, stamp);
    }
  }
}

import type { ChangedPostsRecorder } from '../../counters/bucket.js';
import { ChangeFeed } from '../../counters/change-feed.js';
import {
  ChangedPosts,
  type CollectedChanges,
  ENTRIES_PER_SEQ,
  feedMax,
  newChangedPostsState,
  type ReopenedChangedPosts,
  reopenChangedPosts,
  SEQ_BEFORE_FIRST,
  startMembers,
} from '../../counters/changed-posts.js';
import type { Key64 } from '../../counters/ids.js';
import type { ReachedMilestone } from '../../counters/milestones.js';
import type { Incarnation } from '../../counters/pn-counter.js';
import type { CopyRequest, CollectOptions } from '../change-store.js';
import { decodeChangedPosts, encodeChangedPosts, type StoredChangedPosts } from './disk/changed-posts-record.js';
import type { LmdbTable } from './disk/lmdb-table.js';
import { ByteReader, type ByteWriter, encodeBigEndian } from './disk/record-bytes.js';
import type { PendingWrite, WriteSet } from './disk/write-set.js';

/** Records of milestones are final at once, because nothing that is committed here is lost. */
const NO_CLOCK = 0;

/** Options that the change records of all buckets share. */
interface ChangeRecordOptions {
  readonly table: LmdbTable;
  readonly changes: WriteSet;
  readonly metricCount: number;
  /** The own region's current incarnation. */
  readonly incarnation: () => Incarnation;
}

/**
 * The change record of one bucket. Only its numbers are on disk; which posts changed is kept in memory, so that a commit costs one
 * small write more. A copy that was not up to date when the process ended needs a full sync therefore.
 */
class ChangeRecord implements ChangedPostsRecorder, PendingWrite {
  isDirty = false;
  /** `null` while nothing is recorded. */
  #posts: ChangedPosts | null = null;
  #stoppedAtSeq = SEQ_BEFORE_FIRST;
  readonly #key: string;

  constructor(
    bucket: number,
    private readonly options: ChangeRecordOptions,
  ) {
    this.#key = encodeBigEndian(bucket, 2);
    const bytes = options.table.get(this.#key);
    if (bytes !== undefined) this.#open(decodeChangedPosts(new ByteReader(bytes)));
  }

  get posts(): ChangedPosts | null {
    return this.#posts;
  }

  record(post: string, before: readonly number[], after: readonly number[], updatedAtMs: number): void {
    const { options } = this;
    this.#posts!.startIncarnation(options.incarnation());
    this.#posts!.record(post, before, after, updatedAtMs);
    options.changes.add(this);
  }

  recordMember(post: string, metric: number, actor: Key64): void {
    const posts = this.#posts!;
    posts.startIncarnation(this.options.incarnation());
    // Written with its post, which has changed, too.
    posts.recordMember(post, metric, actor);
  }

  recordMilestones(post: string, metric: number, reached: readonly ReachedMilestone[]): void {
    const posts = this.#posts!;
    posts.startIncarnation(this.options.incarnation());
    // Written with its post, too.
    posts.recordMilestones(post, metric, reached, NO_CLOCK);
  }

  /** Starts recording if it has not started. */
  collect(after: number, { limit, withMembers }: CollectOptions): CollectedChanges {
    const { options } = this;
    this.#posts ??= this.#start();
    const { seq, starts, recordsMembers } = this.#posts.state;
    if (withMembers && !recordsMembers) this.#posts = openPosts(startMembers(this.#posts.state, options.incarnation()));
    const posts = this.#posts;
    posts.startIncarnation(options.incarnation());
    const collected = posts.collect(after, limit, NO_CLOCK);
    if (posts.state.seq !== seq || posts.state.starts !== starts || posts.state.recordsMembers !== recordsMembers) {
      options.changes.add(this);
    }
    return collected;
  }

  stop(): void {
    if (this.#posts === null) return;
    this.#stoppedAtSeq = this.#posts.state.seq;
    this.#posts = null;
    this.options.changes.add(this);
  }

  write(writer: ByteWriter): void {
    const stored = this.#posts === null ? { stoppedAtSeq: this.#stoppedAtSeq } : this.#posts.state;
    this.options.table.put(this.#key, encodeChangedPosts(stored, writer).value());
  }

  #open(stored: StoredChangedPosts): void {
    if ('stoppedAtSeq' in stored) {
      this.#stoppedAtSeq = stored.stoppedAtSeq;
      return;
    }
    this.#posts = openPosts(reopenChangedPosts(stored, this.options.incarnation()));
  }

  #start(): ChangedPosts {
    const seq = this.#stoppedAtSeq + 1;
    return openPosts({ state: newChangedPostsState(seq, this.options.metricCount), droppedUpTo: seq - 1 });
  }
}

function openPosts({ state, droppedUpTo }: ReopenedChangedPosts): ChangedPosts {
  return new ChangedPosts(state, new ChangeFeed(droppedUpTo, feedMax(state)), ENTRIES_PER_SEQ, () => true);
}

/** The change records of all buckets, read from disk once. */
export class ChangeRecords {
  readonly #records: readonly ChangeRecord[];

  constructor(buckets: number, options: ChangeRecordOptions) {
    this.#records = Array.from({ length: buckets }, (_, bucket) => new ChangeRecord(bucket, options));
  }

  /** `null` where nothing is recorded. */
  recorder(bucket: number): ChangedPostsRecorder | null {
    const record = this.#records[bucket]!;
    return record.posts === null ? null : record;
  }

  /** Starts recording in this bucket if it has not started. */
  collect(
    { bucket, after }: CopyRequest,
    options: CollectOptions,
  ): { collected: CollectedChanges; record: ChangedPosts } {
    const record = this.#records[bucket]!;
    const collected = record.collect(after, options);
    return { collected, record: record.posts! };
  }

  stop(): void {
    for (const record of this.#records) record.stop();
  }

  get isRecording(): boolean {
    return this.#records.some(({ posts }) => posts !== null);
  }
}

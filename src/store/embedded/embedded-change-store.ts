import { groupBy } from '../../common/grouping.js';
import type { PostCounts } from '../../counters/batch.js';
import { bucketOf } from '../../counters/bucket-of.js';
import { buildCounts } from '../../counters/bucket.js';
import type { CopyPosition, Member } from '../../counters/changed-posts.js';
import { checkMembers, type MembersDrift } from '../../counters/check-members.js';
import { findRecord, listRecords, type PostMilestone, restoreRecords } from '../../counters/milestones.js';
import type { Metrics } from '../../counters/metrics.js';
import type { ChangePage, ChangeStore, CollectOptions, CopyRequest, CountsPage, MembersPage } from '../change-store.js';
import { decodePosition, encodePosition } from './disk/changed-posts-record.js';
import { ByteReader, ByteWriter, encodeBigEndian } from './disk/record-bytes.js';
import type { PendingWrite } from './disk/write-set.js';
import type { GroupCommit } from './group-commit.js';
import type { RecordCache } from './record-cache.js';

/** Ids that are read for each post that is in one of the buckets: 4,000 take some milliseconds. */
const IDS_PER_POST_MAX = 8;

/** Changed posts of the embedded store, for copies in other systems. */
export class EmbeddedChangeStore implements ChangeStore {
  constructor(
    private readonly commits: GroupCommit,
    private readonly buckets: number,
    private readonly metrics: Metrics,
  ) {}

  /** No other gateway shares the store. */
  acquireLease(): Promise<boolean> {
    return Promise.resolve(true);
  }

  changesSince(requests: readonly CopyRequest[], options: CollectOptions): Promise<readonly ChangePage[]> {
    return this.commits.enqueueWrite((records) => requests.map((request) => this.#collect(records, request, options)));
  }

  stopRecording(): Promise<void> {
    return this.commits.enqueueWrite(({ changeRecords }) => changeRecords.stop());
  }

  isRecording(): Promise<boolean> {
    return this.commits.readCommitted(({ changeRecords }) => changeRecords.isRecording);
  }

  readAll(buckets: ReadonlySet<number>, cursor: string, limit: number): Promise<CountsPage> {
    return this.commits.readCommitted((records) => {
      const idsMax = Math.ceil(limit * Math.min(IDS_PER_POST_MAX, this.buckets / buckets.size));
      const ids = records.listPostsAfter(cursor, idsMax);
      const wanted = ids.filter((id) => buckets.has(bucketOf(id, this.buckets)));
      const posts = wanted.map((id) => this.#readCounts(records, id)).filter(({ v }) => v > 0);
      const milestones = posts.flatMap(({ post }) => this.#readMilestones(records, post));
      return { posts, milestones, next: ids.length < idsMax ? null : ids.at(-1)! };
    });
  }

  readMembers(posts: readonly string[], cursor: string, limit: number): Promise<MembersPage> {
    return this.commits.readCommitted((records) => readMembers(records, posts, cursor, limit));
  }

  checkMembers(posts: readonly string[], repairs: boolean): Promise<readonly MembersDrift[]> {
    return this.commits.enqueueWrite((records) =>
      [...groupBy(posts, (post) => bucketOf(post, this.buckets))].flatMap(([number, some]) => {
        const { drift, changed } = checkMembers(records.openBucket(number), this.metrics, some, repairs);
        this.commits.addChanged(changed);
        return drift;
      }),
    );
  }

  restoreMilestones(all: readonly PostMilestone[]): Promise<void> {
    return this.commits.enqueueWrite((records) =>
      restoreRecords((post) => records.openBucket(bucketOf(post, this.buckets)).milestones, all),
    );
  }

  readPositions(copy: string): Promise<ReadonlyMap<number, CopyPosition>> {
    return this.commits.readCommitted(({ tables }) => {
      const positions = new Map<number, CopyPosition>();
      for (let bucket = 0; bucket < this.buckets; bucket++) {
        const bytes = tables.positions.get(positionKey(copy, bucket));
        if (bytes !== undefined) positions.set(bucket, decodePosition(new ByteReader(bytes)));
      }
      return positions;
    });
  }

  savePositions(copy: string, positions: ReadonlyMap<number, CopyPosition>): Promise<void> {
    return this.commits.enqueueWrite(({ changes, tables }) => {
      const write = (writer: ByteWriter): void => {
        for (const [bucket, position] of positions) {
          tables.positions.put(positionKey(copy, bucket), encodePosition(position, writer).value());
        }
      };
      changes.add({ isDirty: false, write } satisfies PendingWrite);
    });
  }

  #collect(records: RecordCache, request: CopyRequest, options: CollectOptions): ChangePage {
    const { bucket } = request;
    const { collected, record } = records.changeRecords.collect(request, options);
    const { changedAtMs, sums, starts } = record.state;
    return {
      bucket,
      starts,
      droppedUpTo: record.droppedUpTo,
      upTo: collected.upTo,
      isComplete: collected.isComplete,
      changedAtMs,
      sums: [...sums],
      posts: collected.posts.map((id) => this.#readCounts(records, id)),
      members: collected.members.map((member) => {
        const { post, metric, actor } = member;
        return { ...member, on: records.openBucket(bucket).hasMember(post, metric, actor) };
      }),
      milestones: collected.milestones.flatMap((key) => findRecord(records.openBucket(bucket).milestones, key)),
    };
  }

  #readMilestones(records: RecordCache, post: string): PostMilestone[] {
    const bucket = records.openBucket(bucketOf(post, this.buckets));
    const { milestones } = bucket;
    // Without a read for each post where there are none.
    if (milestones.isEmpty) return [];
    return listRecords(milestones, this.metrics, post).filter((one) => bucket.isFinal(one));
  }

  #readCounts(records: RecordCache, id: string): PostCounts {
    const bucket = records.openBucket(bucketOf(id, this.buckets));
    return buildCounts(id, bucket.epoch, bucket.post(id), this.metrics);
  }
}

function positionKey(copy: string, bucket: number): string {
  return `${copy}\0${encodeBigEndian(bucket, 2)}`;
}

/**
 * Reads members chunk by chunk, a whole number of chunks. A member moves only to chunks with higher numbers, so none is missed.
 * @param cursor `index of the post, metric, chunk`
 */
function readMembers(records: RecordCache, posts: readonly string[], cursor: string, limit: number): MembersPage {
  let [index = 0, metric = 0, chunk = 0] = cursor === '' ? [] : cursor.split(' ').map(Number);
  const members: Member[] = [];
  for (; index < posts.length; index++, metric = 0, chunk = 0) {
    const post = posts[index]!;
    const locations = records.loadPost(post).record.members;
    for (; metric < locations.length; metric++, chunk = 0) {
      const location = locations[metric]!;
      for (; chunk < Math.max(location.chunks, 1); chunk++) {
        if (members.length >= limit) return { members, next: `${index} ${metric} ${chunk}` };
        for (const actor of records.members.listChunk(post, metric, location, chunk))
          members.push({ post, metric, actor });
      }
    }
  }
  return { members, next: null };
}

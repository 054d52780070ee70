import type { PostCounts } from '../../counters/batch.js';
import { bucketOf } from '../../counters/bucket-of.js';
import { buildCounts } from '../../counters/bucket.js';
import type { CopyPosition } from '../../counters/changed-posts.js';
import type { Metrics } from '../../counters/metrics.js';
import type { ChangePage, ChangeStore, CountsPage } from '../change-store.js';
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

  changesSince(
    requests: readonly { readonly bucket: number; readonly after: number }[],
    limit: number,
  ): Promise<readonly ChangePage[]> {
    return this.commits.enqueueWrite((records) =>
      requests.map(({ bucket, after }) => this.#collect(records, bucket, after, limit)),
    );
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
      return { posts, next: ids.length < idsMax ? null : ids.at(-1)! };
    });
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

  #collect(records: RecordCache, bucket: number, after: number, limit: number): ChangePage {
    const { collected, record } = records.changeRecords.collect(bucket, after, limit);
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
    };
  }

  #readCounts(records: RecordCache, id: string): PostCounts {
    const bucket = records.openBucket(bucketOf(id, this.buckets));
    return buildCounts(id, bucket.epoch, bucket.post(id), this.metrics);
  }
}

function positionKey(copy: string, bucket: number): string {
  return `${copy}\0${encodeBigEndian(bucket, 2)}`;
}

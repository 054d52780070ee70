import { areNone, type BucketMilestones, type Milestones, type ReachedMilestone } from '../../counters/milestones.js';
import type { MilestoneNews } from '../milestone-store.js';
import type { CachedPost } from './cached-post.js';
import type { LmdbTable } from './disk/lmdb-table.js';
import { listMilestonePosts } from './disk/milestones-record.js';
import { ByteReader, type ByteWriter, encodeBigEndian } from './disk/record-bytes.js';
import type { PendingWrite, WriteSet } from './disk/write-set.js';
import { PostMilestones } from './post-milestones.js';
import type { UnsettledPosts } from './unsettled-posts.js';

/** The part of the cache that the milestones of a bucket use. */
interface MilestoneRecords {
  readonly tables: { readonly milestones: LmdbTable };
  readonly changes: WriteSet;
  readonly milestoneNews: MilestoneNews[];
  readonly unsettled: UnsettledPosts;
  bucketOf(post: string): number;
  loadPost(id: string): CachedPost;
}

/** The milestones of a bucket: their number here, those of each post with the post. */
export class BucketMilestoneRecords implements BucketMilestones, PendingWrite {
  isDirty = false;
  /** How many metrics of posts have milestones, armed or reached. */
  #metrics = 0;
  #armed = 0;
  readonly #key: string;

  constructor(
    private readonly bucket: number,
    private readonly records: MilestoneRecords,
  ) {
    this.#key = `bucket ${encodeBigEndian(bucket, 2)}`;
    const bytes = records.tables.milestones.get(this.#key);
    if (bytes === undefined) return;
    const reader = new ByteReader(bytes);
    this.#metrics = reader.varint();
    this.#armed = reader.varint();
  }

  get isEmpty(): boolean {
    return this.#metrics === 0;
  }

  get armedCount(): number {
    return this.#armed;
  }

  get(post: string, metric: number): Milestones | undefined {
    return this.records.loadPost(post).milestones.get(metric);
  }

  set(post: string, metric: number, milestones: Milestones, reached: readonly ReachedMilestone[]): void {
    const { changes, milestoneNews, unsettled } = this.records;
    const own = this.records.loadPost(post).milestones;
    const before = own.get(metric);
    this.#metrics += (areNone(milestones) ? 0 : 1) - (before === undefined ? 0 : 1);
    this.#armed += milestones.armed.length - (before?.armed.length ?? 0);
    own.set(metric, milestones);
    unsettled.note(post, milestones);
    changes.add(this);
    for (const { n, v, atMs } of reached) milestoneNews.push({ post, metric, n, v, atMs });
  }

  /** Posts with milestones, and perhaps some that had. Cost: reads all keys of the table. */
  listPosts(): string[] {
    const { tables, changes } = this.records;
    const changed = changes.pending.flatMap((one) => (one instanceof PostMilestones ? [one.post] : []));
    const posts = new Set([...listMilestonePosts(tables.milestones, '', Infinity), ...changed]);
    return [...posts].filter((post) => this.records.bucketOf(post) === this.bucket).sort();
  }

  /** Records need no time, because nothing that is committed here is ever lost. */
  nowMs(): number {
    return 0;
  }

  isDurable(): boolean {
    return true;
  }

  write(writer: ByteWriter): void {
    this.records.tables.milestones.put(this.#key, writer.varint(this.#metrics).varint(this.#armed).value());
  }
}

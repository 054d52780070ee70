import { buildCounts } from '../../src/counters/bucket.js';
import type { CopyPosition } from '../../src/counters/changed-posts.js';
import type { Metrics } from '../../src/counters/metrics.js';
import type { ChangePage, ChangeStore, CountsPage } from '../../src/store/change-store.js';
import type { MemoryBucket } from './memory-bucket.js';
import { type ChangeRecordRules, MemoryChangeRecord } from './memory-change-record.js';

/** Changed posts of the reference. */
export class ReferenceChangeStore implements ChangeStore {
  readonly #positions = new Map<string, Map<number, CopyPosition>>();

  constructor(
    private readonly buckets: () => readonly MemoryBucket[],
    private readonly metrics: Metrics,
    private readonly rules: ChangeRecordRules,
  ) {}

  /** Takes over the positions of another store, as a replica has them. */
  copyPositions(other: ReferenceChangeStore): void {
    for (const [copy, positions] of other.#positions) this.#positions.set(copy, positions);
  }

  acquireLease(): Promise<boolean> {
    return Promise.resolve(true);
  }

  changesSince(
    requests: readonly { readonly bucket: number; readonly after: number }[],
    limit: number,
  ): Promise<readonly ChangePage[]> {
    return Promise.resolve(requests.map(({ bucket, after }) => this.#collect(bucket, after, limit)));
  }

  stopRecording(): Promise<void> {
    for (const bucket of this.buckets()) {
      if (bucket.changedPosts === null) continue;
      bucket.stoppedAtSeq = bucket.changedPosts.posts.state.seq;
      bucket.changedPosts = null;
    }
    return Promise.resolve();
  }

  isRecording(): Promise<boolean> {
    return Promise.resolve(this.buckets().some(({ changedPosts }) => changedPosts !== null));
  }

  readAll(buckets: ReadonlySet<number>, cursor: string, limit: number): Promise<CountsPage> {
    const at = Number(cursor);
    const all = [...buckets].flatMap((number) => {
      const bucket = this.buckets()[number]!;
      return bucket.posts.map((post) => buildCounts(post, bucket.epoch, bucket.post(post), this.metrics));
    });
    const posts = all.slice(at, at + limit).filter(({ v }) => v > 0);
    return Promise.resolve({ posts, next: at + limit < all.length ? String(at + limit) : null });
  }

  readPositions(copy: string): Promise<ReadonlyMap<number, CopyPosition>> {
    return Promise.resolve(new Map(this.#positions.get(copy)));
  }

  savePositions(copy: string, positions: ReadonlyMap<number, CopyPosition>): Promise<void> {
    this.#positions.set(copy, new Map([...(this.#positions.get(copy) ?? []), ...positions]));
    return Promise.resolve();
  }

  #collect(number: number, after: number, limit: number): ChangePage {
    const bucket = this.buckets()[number]!;
    bucket.changedPosts ??= MemoryChangeRecord.start(bucket, this.metrics.list.length, this.rules);
    const { posts: ids, upTo, isComplete } = bucket.changedPosts.collect(after, limit);
    const { posts } = bucket.changedPosts;
    const { changedAtMs, sums, starts } = posts.state;
    return {
      bucket: number,
      starts,
      droppedUpTo: posts.droppedUpTo,
      upTo,
      isComplete,
      changedAtMs,
      sums: [...sums],
      posts: ids.map((id) => buildCounts(id, bucket.epoch, bucket.post(id), this.metrics)),
    };
  }
}

import type { PostCounts } from '../../src/counters/batch.js';
import { bucketOf } from '../../src/counters/bucket-of.js';
import { buildCounts } from '../../src/counters/bucket.js';
import type { CopyPosition } from '../../src/counters/changed-posts.js';
import { checkMembers, type MembersDrift } from '../../src/counters/check-members.js';
import { findRecord, listRecords, type PostMilestone, restoreRecords } from '../../src/counters/milestones.js';
import type { Metrics } from '../../src/counters/metrics.js';
import type {
  ChangePage,
  ChangeStore,
  CollectOptions,
  CopyRequest,
  CountsPage,
  MembersPage,
} from '../../src/store/change-store.js';
import type { MemoryBucket } from './memory-bucket.js';
import { type ChangeRecordRules, MemoryChangeRecord } from './memory-change-record.js';

/** Changed posts of the reference. */
export class ReferenceChangeStore implements ChangeStore {
  readonly #positions = new Map<string, Map<number, CopyPosition>>();

  constructor(
    private readonly buckets: () => readonly MemoryBucket[],
    private readonly metrics: Metrics,
    private readonly rules: ChangeRecordRules,
    private readonly changed: (counts: readonly PostCounts[]) => void,
  ) {}

  /** Takes over the positions of another store, as a replica has them. */
  copyPositions(other: ReferenceChangeStore): void {
    for (const [copy, positions] of other.#positions) this.#positions.set(copy, positions);
  }

  acquireLease(): Promise<boolean> {
    return Promise.resolve(true);
  }

  changesSince(requests: readonly CopyRequest[], options: CollectOptions): Promise<readonly ChangePage[]> {
    return Promise.resolve(requests.map((request) => this.#collect(request, options)));
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
    const milestones = posts.flatMap(({ post }) => {
      const bucket = this.#bucketOf(post);
      const records = listRecords(bucket.milestones, this.metrics, post);
      const nowMs = bucket.milestones.nowMs();
      return records.filter((one) => {
        const isProvisional = bucket.changedPosts?.isProvisional(one) ?? !this.rules.isRecordFinal(one, nowMs);
        return !isProvisional;
      });
    });
    return Promise.resolve({ posts, milestones, next: at + limit < all.length ? String(at + limit) : null });
  }

  readMembers(posts: readonly string[], cursor: string, limit: number): Promise<MembersPage> {
    const all = posts.flatMap((post, i) => {
      const bucket = this.#bucketOf(post);
      return this.metrics.list.flatMap(({ index: metric }) =>
        bucket
          .listMembers(post, metric)
          .map((actor) => ({ key: toSortKey([i, metric, actor.hi, actor.lo]), post, metric, actor })),
      );
    });
    // Not a number of members: one that leaves must not move others to a page that was read.
    const rest = all.filter(({ key }) => key > cursor).sort((one, other) => (one.key < other.key ? -1 : 1));
    const page = rest.slice(0, limit);
    const members = page.map(({ post, metric, actor }) => ({ post, metric, actor }));
    return Promise.resolve({ members, next: page.length < rest.length ? page.at(-1)!.key : null });
  }

  checkMembers(posts: readonly string[], repairs: boolean): Promise<readonly MembersDrift[]> {
    return Promise.resolve(
      posts.flatMap((post) => {
        const { drift, changed } = checkMembers(this.#bucketOf(post), this.metrics, [post], repairs);
        this.changed(changed);
        return drift;
      }),
    );
  }

  restoreMilestones(records: readonly PostMilestone[]): Promise<void> {
    restoreRecords((post) => this.#bucketOf(post).milestones, records);
    return Promise.resolve();
  }

  readPositions(copy: string): Promise<ReadonlyMap<number, CopyPosition>> {
    return Promise.resolve(new Map(this.#positions.get(copy)));
  }

  savePositions(copy: string, positions: ReadonlyMap<number, CopyPosition>): Promise<void> {
    this.#positions.set(copy, new Map([...(this.#positions.get(copy) ?? []), ...positions]));
    return Promise.resolve();
  }

  #bucketOf(post: string): MemoryBucket {
    const buckets = this.buckets();
    return buckets[bucketOf(post, buckets.length)]!;
  }

  #collect({ bucket: number, after }: CopyRequest, options: CollectOptions): ChangePage {
    const bucket = this.buckets()[number]!;
    bucket.changedPosts ??= MemoryChangeRecord.start(bucket, this.metrics.list.length, this.rules);
    const { posts: ids, members, milestones, upTo, isComplete } = bucket.changedPosts.collect(after, options);
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
      members: members.map((member) => {
        return { ...member, on: bucket.hasMember(member.post, member.metric, member.actor) };
      }),
      milestones: milestones.flatMap((key) => findRecord(bucket.milestones, key)),
    };
  }
}

/** Texts in the order of the numbers, which are below 2^32. */
function toSortKey(numbers: readonly number[]): string {
  return numbers.map((number) => String(number).padStart(10, '0')).join(' ');
}

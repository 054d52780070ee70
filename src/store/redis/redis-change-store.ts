import { groupBy, pages } from '../../common/grouping.js';
import type { PostCounts } from '../../counters/batch.js';
import { bucketOf } from '../../counters/bucket-of.js';
import type { CopyPosition, Member } from '../../counters/changed-posts.js';
import type { PostMilestone } from '../../counters/milestones.js';
import type { MembersDrift } from '../../counters/check-members.js';
import type { ChangePage, ChangeStore, CollectOptions, CopyRequest, CountsPage, MembersPage } from '../change-store.js';
import { CALL_CHECKED_POSTS_MAX, type ChangeScripts, type MembersCursor } from './change-scripts.js';
import { buildPostCounts } from './codec/changed-posts-decoder.js';
import type { RecordsPage } from './codec/records-decoder.js';
import type { CounterScripts } from './counter-scripts.js';

/** Changed posts and members of the counters in Redis, for copies in other systems. docs/redis-keys.md describes its keys. */
export class RedisChangeStore implements ChangeStore {
  constructor(
    private readonly scripts: ChangeScripts,
    private readonly counterScripts: Pick<CounterScripts, 'open'>,
    private readonly buckets: number,
  ) {}

  acquireLease(duty: string): Promise<boolean> {
    return this.scripts.acquireLease(duty);
  }

  async changesSince(requests: readonly CopyRequest[], options: CollectOptions): Promise<readonly ChangePage[]> {
    const found = new Map<CopyRequest, ChangePage>();
    await Promise.all(
      this.scripts.groupForCalls(requests).map(async (group) => {
        for (let left = group; left.length > 0; left = left.filter((request) => !found.has(request))) {
          const read = await this.scripts.collect(left, options);
          for (const [i, page] of read.entries()) if (page !== undefined) found.set(left[i]!, page);
        }
      }),
    );
    return requests.map((request) => found.get(request)!);
  }

  stopRecording(): Promise<void> {
    return this.scripts.stopRecording();
  }

  isRecording(): Promise<boolean> {
    return this.scripts.isRecording();
  }

  /**
   * Reads chunk by chunk. A post moves only to chunks with higher numbers, so none is missed.
   * @param cursor `bucket chunk`
   */
  async readAll(buckets: ReadonlySet<number>, cursor: string, limit: number): Promise<CountsPage> {
    const order = [...buckets].sort((a, b) => a - b);
    const [first = 0, firstChunk = 0] = cursor === '' ? [] : cursor.split(' ').map(Number);
    const posts: PostCounts[] = [];
    const milestones: PostMilestone[] = [];
    let bucket = order.find((one) => one >= first);
    let chunk = bucket === first ? firstChunk : 0;
    while (bucket !== undefined && posts.length < limit) {
      const { records, incarnation, chunks, hasMilestones } = await this.#readChunk(bucket, chunk);
      if (hasMilestones) milestones.push(...(await this.scripts.readMilestones(bucket, [...records.keys()])));
      for (const [post, record] of records) {
        if (record.version > 0) posts.push(buildPostCounts(post, record, incarnation, this.scripts.context));
      }
      chunk += 1;
      if (chunk < chunks) continue;
      const last: number = bucket;
      bucket = order.find((one) => one > last);
      chunk = 0;
    }
    return { posts, milestones, next: bucket === undefined ? null : `${bucket} ${chunk}` };
  }

  /**
   * Reads posts in the order of their buckets, chunk by chunk of their members. A member moves only to chunks with higher numbers, so
   * none is missed.
   * @param cursor `posts that were read, metric, chunk`
   */
  async readMembers(posts: readonly string[], cursor: string, limit: number): Promise<MembersPage> {
    const [postsRead = 0, metric = 0, chunk = 0] = cursor === '' ? [] : cursor.split(' ').map(Number);
    const groups = [...groupBy(posts, (post) => this.#bucketOf(post))];
    const order = groups.flatMap(([bucket, group]) => group.map((post) => ({ bucket, post })));
    const members: Member[] = [];
    let at: MembersCursor = { postsRead, metric, chunk };
    while (at.postsRead < order.length && members.length < limit) {
      const page = await this.scripts.listMembers(order, at, limit - members.length);
      for (const member of page.members) members.push(member);
      at = page.next;
    }
    const isDone = at.postsRead === order.length;
    return { members, next: isDone ? null : `${at.postsRead} ${at.metric} ${at.chunk}` };
  }

  async checkMembers(posts: readonly string[], repairs: boolean): Promise<readonly MembersDrift[]> {
    const calls = [...groupBy(new Set(posts), (post) => this.#bucketOf(post))].flatMap(([bucket, group]) =>
      pages(group, CALL_CHECKED_POSTS_MAX).map((some) => this.scripts.checkMembers(bucket, some, repairs)),
    );
    return (await Promise.all(calls)).flat();
  }

  async restoreMilestones(records: readonly PostMilestone[]): Promise<void> {
    const groups = groupBy(records, ({ post }) => this.#bucketOf(post));
    await Promise.all([...groups].map(([bucket, some]) => this.scripts.restoreMilestones(bucket, some)));
  }

  readPositions(copy: string): Promise<ReadonlyMap<number, CopyPosition>> {
    return this.scripts.readPositions(copy);
  }

  savePositions(copy: string, positions: ReadonlyMap<number, CopyPosition>): Promise<void> {
    return this.scripts.savePositions(copy, positions);
  }

  #bucketOf(post: string): number {
    return bucketOf(post, this.buckets);
  }

  async #readChunk(bucket: number, chunk: number): Promise<RecordsPage> {
    const page = await this.scripts.readChunk(bucket, chunk);
    if (page.isCurrent) return page;
    await this.counterScripts.open(bucket);
    return await this.scripts.readChunk(bucket, chunk);
  }
}

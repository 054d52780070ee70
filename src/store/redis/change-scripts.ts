import { groupBy, pages } from '../../common/grouping.js';
import type { CopyPosition, Member } from '../../counters/changed-posts.js';
import type { PostMilestone } from '../../counters/milestones.js';
import type { MembersDrift } from '../../counters/check-members.js';
import type { ChangePage, CollectOptions, CopyRequest } from '../change-store.js';
import type { RedisClient } from './client/redis-client.js';
import { sortForScript } from './codec/batch-encoder.js';
import { type CountsContext, decodeChangePage } from './codec/changed-posts-decoder.js';
import { parseDecimalKey } from './codec/key64-decimal.js';
import { decodePostMilestones } from './codec/milestones-decoder.js';
import { encodeMilestones } from './codec/milestones-encoder.js';
import { decodeRecords, type RecordsPage } from './codec/records-decoder.js';
import { buildBucketKeys, buildPositionsKey, LEASES_KEY } from './codec/redis-keys.js';
import { formatKinds } from './codec/reply-decoder.js';
import { type CounterScriptsOptions, toScriptRegion } from './counter-scripts.js';
import { scriptError } from './scripts/call-coalescer.js';
import { encodeNewIncarnation } from './scripts/incarnation-argument.js';
import { formatRegions } from './scripts/region-names.js';
import { Script } from './scripts/script.js';

/** A gateway that does not renew the lease of a duty for this long loses it. Twice the time after which it is renewed. */
const LEASE_MS = 2_000;
/** Buckets of a call that reads little more than their hashes. */
const CALL_BUCKETS_MAX = 128;
/** Changed posts and members of a bucket, and of all buckets, that one call reads: some milliseconds of the server's time. */
const CALL_CHANGES_MAX = 500;
/** Members, and posts and chunks of members, that one call lists: a millisecond or two of the server's time. */
const CALL_MEMBERS_MAX = 2_000;
const CALL_READS_MAX = 1_000;
/** Posts of a bucket whose members one call counts. A chunk, some 300 members, costs about 2 µs; all of a set are counted at one instant. */
export const CALL_CHECKED_POSTS_MAX = 100;

/** How far members of a list of posts were listed. */
export interface MembersCursor {
  /** Posts of which all members were listed. */
  readonly postsRead: number;
  /** The next chunk of members of the post after these: its metric and number. */
  readonly metric: number;
  readonly chunk: number;
}

interface PostOfBucket {
  readonly bucket: number;
  readonly post: string;
}

/** The scripts for copies of the counts in other systems, as typed methods. */
export class ChangeScripts {
  readonly #collect = new Script('collect-changed-posts-n', true);
  readonly #recordingStatus = new Script('recording-status-n');
  readonly #stopRecording = new Script('stop-recording-n');
  readonly #listMembers = new Script('list-members-n');
  readonly #checkMembers = new Script('check-members-1');
  readonly #readRecords = new Script('read-records-1', true);
  readonly #readMilestones = new Script('read-milestone-records-1', true);
  readonly #restoreMilestones = new Script('restore-milestones-1');
  readonly #acquireLease = new Script('acquire-lease-1');
  readonly #readPositions = new Script('read-positions-1');
  readonly #savePositions = new Script('save-positions-1');
  /** Counts have these beside what is in a record. */
  readonly context: CountsContext;
  readonly #kinds: string;
  /** Keys of the buckets' hashes. */
  readonly #keys: readonly string[];

  constructor(
    private readonly client: RedisClient,
    private readonly options: CounterScriptsOptions,
  ) {
    const { buckets, gateway, region, metrics } = options;
    this.#kinds = formatKinds(metrics);
    this.context = { region, metricCount: metrics.list.length };
    this.#keys = Array.from({ length: buckets }, (_, bucket) => buildBucketKeys(bucket, gateway).bucket);
  }

  /** @returns the items in groups of which one call may be about all */
  groupForCalls<T>(items: readonly T[]): T[][] {
    return pages(items, this.client.hasSlots ? 1 : CALL_BUCKETS_MAX);
  }

  /**
   * Waits for replicas, if the store does, so that no copy has what a failover may lose.
   * @param requests those of one call
   * @returns `undefined` for buckets that were not read, because those before them had enough for one call
   */
  async collect(
    requests: readonly CopyRequest[],
    { limit, withMembers }: CollectOptions,
  ): Promise<(ChangePage | undefined)[]> {
    const { options, client } = this;
    const [first, ...others] = requests.map(({ bucket }) => this.#keys[bucket]!);
    const start = [encodeNewIncarnation(options), toScriptRegion(options), client.hasSlots ? 1 : 0];
    const limits = [withMembers ? 1 : 0, Math.min(limit, CALL_CHANGES_MAX), CALL_CHANGES_MAX];
    const args = [...start, ...limits, ...requests.map(({ after }) => after)];
    const replies = (await client.write(this.#collect, [first!, ...others], args)) as Buffer[];
    return replies.map((reply, i) => {
      if (reply.length === 0) return undefined;
      const error = scriptError(reply);
      if (error !== null) throw error;
      return decodeChangePage(requests[i]!.bucket, reply, this.context);
    });
  }

  async isRecording(): Promise<boolean> {
    const replies = await Promise.all(
      this.groupForCalls(this.#keys).map(([first, ...others]) =>
        this.client.query(this.#recordingStatus, [first!, ...others], []),
      ),
    );
    return replies.flat().includes(1);
  }

  async stopRecording(): Promise<void> {
    const mayMove = this.client.hasSlots ? 1 : 0;
    await Promise.all(
      this.groupForCalls(this.#keys).map(([first, ...others]) =>
        this.client.write(this.#stopRecording, [first!, ...others], [mayMove]),
      ),
    );
  }

  /** The posts of a chunk. */
  async readChunk(bucket: number, chunk: number): Promise<RecordsPage> {
    return decodeRecords(await this.client.query(this.#readRecords, [this.#keys[bucket]!], [chunk, '[]']));
  }

  /** The final records of milestones of some posts of a bucket. */
  async readMilestones(bucket: number, posts: readonly string[]): Promise<PostMilestone[]> {
    if (posts.length === 0) return [];
    const reply = await this.client.query(this.#readMilestones, [this.#keys[bucket]!], [JSON.stringify(posts)]);
    return decodePostMilestones(reply as Buffer, this.options.region);
  }

  /** Waits for replicas, if the store does. */
  async restoreMilestones(bucket: number, records: readonly PostMilestone[]): Promise<void> {
    await this.client.write(
      this.#restoreMilestones,
      [this.#keys[bucket]!],
      [encodeMilestones(records, this.options.region)],
    );
  }

  /**
   * Lists some members of posts, about `limit` at most.
   * @param posts those of a bucket are neighbours
   */
  async listMembers(
    posts: readonly PostOfBucket[],
    { postsRead, metric, chunk }: MembersCursor,
    limit: number,
  ): Promise<{ members: Member[]; next: MembersCursor }> {
    const { client } = this;
    const groups = [...groupBy(posts.slice(postsRead, postsRead + CALL_READS_MAX), ({ bucket }) => bucket)];
    const [first, ...others] = this.groupForCalls(groups)[0]!;
    const keys = others.map(([bucket]) => this.#keys[bucket]!);
    const names = [first!, ...others].map(([, group]) => JSON.stringify(group.map(({ post }) => post)));
    const limits = [Math.min(limit, CALL_MEMBERS_MAX), CALL_READS_MAX];
    const args = [client.hasSlots ? 1 : 0, this.#kinds, metric, chunk, ...limits, ...names];
    const reply = await client.query(this.#listMembers, [this.#keys[first![0]]!, ...keys], args);
    const [read, nextMetric, nextChunk, chunks] = reply as [number, number, number, [string, number, string[]][]];
    const members = chunks.flatMap(([post, index, actors]) =>
      actors.map((actor) => ({ post, metric: index, actor: parseDecimalKey(actor) })),
    );
    return { members, next: { postsRead: postsRead + read, metric: nextMetric, chunk: nextChunk } };
  }

  /**
   * Compares what posts of one bucket count with the members that they have.
   * @param posts at most CALL_CHECKED_POSTS_MAX, each once
   */
  async checkMembers(bucket: number, posts: readonly string[], repairs: boolean): Promise<MembersDrift[]> {
    const { options, client } = this;
    const sorted = sortForScript(posts);
    const start = [encodeNewIncarnation(options), options.publishIntervalMs, this.#kinds, toScriptRegion(options)];
    const args = [...start, repairs ? 1 : 0, JSON.stringify(sorted), formatRegions(options)];
    const reply = await client.write(this.#checkMembers, [this.#keys[bucket]!], args);
    return pages(reply as number[], 4).map((found) => {
      const [index, metric, counted, members] = found as [number, number, number, number];
      return { post: sorted[index - 1]!, metric, counted, members };
    });
  }

  async acquireLease(duty: string): Promise<boolean> {
    const args = [duty, this.options.gateway, LEASE_MS];
    return (await this.client.query(this.#acquireLease, [LEASES_KEY], args)) === 1;
  }

  async readPositions(copy: string): Promise<Map<number, CopyPosition>> {
    const reply = await this.client.query(this.#readPositions, [buildPositionsKey(copy)], []);
    return new Map(
      pages(reply as string[], 2).map(([bucket, position]) => {
        const [epoch, nonce, upTo, changedAtMs] = position!.split(' ').map(Number) as [number, number, number, number];
        return [Number(bucket), { epoch, nonce, upTo, changedAtMs }];
      }),
    );
  }

  async savePositions(copy: string, positions: ReadonlyMap<number, CopyPosition>): Promise<void> {
    const args = [...positions].map(([bucket, { epoch, nonce, upTo, changedAtMs }]) =>
      [bucket, epoch, nonce, upTo, changedAtMs].join(' '),
    );
    await this.client.write(this.#savePositions, [buildPositionsKey(copy)], args);
  }
}

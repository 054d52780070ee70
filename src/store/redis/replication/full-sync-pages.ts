import { groupBy } from '../../../common/grouping.js';
import { splitMembers } from '../../../counters/replication/build-delta.js';
import type { HomeConfirmation } from '../../../counters/milestones.js';
import type { Metrics } from '../../../counters/metrics.js';
import type { RegionIncarnation } from '../../../counters/pn-counter.js';
import type { Delta, PostDelta, ToggleRegister } from '../../../counters/replication/delta.js';
import type { FullSyncPage } from '../../replicated-store.js';
import { emptyFullSync } from '../codec/delta-decoder.js';
import type { RecordsPage } from '../codec/records-decoder.js';
import type { RedisPostRecord } from '../codec/redis-post-record.js';
import { REGISTER_STORAGES } from '../codec/register-storage.js';
import type { MemberReader, StampedMembers } from './member-reader.js';
import type { PostRegister, ReplicationScripts } from './replication-scripts.js';

/** Members of one post that may be read together with those of others. */
const MEMBERS_TOGETHER_MAX = 5_000;

interface BucketPage {
  readonly posts: PostDelta[];
  /** The next cursor; `null` after the last page of the bucket. */
  readonly next: string | null;
}

/**
 * Reads all that buckets hold, page by page: of each bucket first the registers of toggles that are off, then its posts, chunk by
 * chunk. The stable stamp is read before what it is sent with: whatever changes meanwhile has a later stamp, and its own region
 * sends it as a change.
 */
export class FullSyncPages {
  constructor(
    private readonly scripts: ReplicationScripts,
    private readonly members: MemberReader,
    private readonly region: string,
    private readonly metrics: Metrics,
  ) {}

  /** @param cursor `bucket source index`, or `bucket posts chunk post`: after that post, in order of their names */
  async readPage(buckets: ReadonlySet<number>, cursor: string, limit: number): Promise<FullSyncPage> {
    const order = [...buckets].sort((a, b) => a - b);
    for (let at = cursor === '' ? startCursor(order[0]) : cursor; at !== null;) {
      const bucket = Number(at.split(' ')[0]);
      const { delta, next } = await this.#readBucketPage(bucket, at, limit);
      const following: string | null = next ?? startCursor(order.find((one) => one > bucket));
      if (delta.posts.length > 0) return { deltas: [delta], next: following };
      at = following;
    }
    return { deltas: [], next: null };
  }

  /** Entries and registers of posts of one bucket, without members. */
  async readPosts(bucket: number, posts: readonly string[]): Promise<Delta[]> {
    const empty = await this.#emptyDelta(bucket);
    const { records, incarnations, homes } = await this.scripts.readPosts(bucket, posts);
    const registers = await this.#readAllRegisters(bucket, empty.stableStamp, posts);
    return posts.map((post) => {
      const record = records.get(post);
      const entries = record === undefined ? [] : listEntries(record, empty.source, incarnations);
      const updatedAtMs = record?.updatedAtMs ?? 0;
      const about = { post, updatedAtMs, entries, registers: registers.get(post) ?? [], members: [] };
      return { ...empty, posts: [withHomes(about, homes, empty.source)] };
    });
  }

  async #emptyDelta(bucket: number): Promise<Delta> {
    const [status] = await this.scripts.bucketStatus([bucket]);
    return emptyFullSync(this.region, bucket, status!);
  }

  /** By post. A register that moved meanwhile is read from two sources, and returned once. */
  async #readAllRegisters(
    bucket: number,
    aboveStamp: number,
    posts: readonly string[],
  ): Promise<Map<string, ToggleRegister[]>> {
    const found = new Map<string, PostRegister>();
    for (const source of REGISTER_STORAGES) {
      let cursor = '0';
      do {
        const page = await this.scripts.readRegisters(bucket, source, cursor, aboveStamp, posts);
        for (const one of page.registers) {
          const { metric, actor } = one.register;
          found.set(`${one.post} ${metric} ${actor.hi} ${actor.lo}`, one);
        }
        cursor = page.next;
      } while (cursor !== '0');
    }
    return groupByPost(found.values());
  }

  async #readBucketPage(bucket: number, cursor: string, limit: number): Promise<{ delta: Delta; next: string | null }> {
    const [, kind, index, name = ''] = cursor.split(' ');
    const empty = await this.#emptyDelta(bucket);
    const at = REGISTER_STORAGES.findIndex((one) => one === kind);
    const { posts, next } =
      at < 0
        ? await this.#readPostsPage(empty, Number(index), name, limit)
        : await this.#readRegistersPage(empty, at, index!);
    return { delta: { ...empty, posts }, next };
  }

  /** Registers of toggles that are off. Those of toggles that are on come with the members. */
  async #readRegistersPage({ bucket, stableStamp }: Delta, at: number, index: string): Promise<BucketPage> {
    const source = REGISTER_STORAGES[at]!;
    const page = await this.scripts.readRegisters(bucket, source, index, stableStamp, []);
    const after = `${bucket} ${REGISTER_STORAGES[at + 1] ?? 'posts'} 0`;
    const next = page.next === '0' ? after : `${bucket} ${source} ${page.next}`;
    const registers = groupByPost(page.registers.filter(({ register }) => !register.on));
    if (registers.size === 0) return { posts: [], next };
    const { records } = await this.scripts.readPosts(bucket, [...registers.keys()]);
    const posts = [...registers].map(([post, off]) => {
      return { post, updatedAtMs: records.get(post)?.updatedAtMs ?? 0, entries: [], registers: off, members: [] };
    });
    return { posts, next };
  }

  /** Posts of a chunk after the one of that name, in about `limit` posts and members. */
  async #readPostsPage(empty: Delta, chunk: number, name: string, limit: number): Promise<BucketPage> {
    const { bucket } = empty;
    const { chunks, ...found } = await this.scripts.readChunk(bucket, chunk);
    const left = [...found.records.keys()].filter((post) => post > name).sort();
    const names = this.#takePosts(left, found.records, limit);
    let page: Omit<RecordsPage, 'chunks'> = found;
    let isFirst = true;
    const members = await this.members.readMembers(bucket, async () => {
      if (!isFirst) page = await this.scripts.readPosts(bucket, names);
      isFirst = false;
      return new Map(names.map((post) => [post, page.records.get(post)!]));
    });
    const posts = names.map((post) => {
      return withHomes(
        this.#buildPost(post, page.records.get(post)!, page.incarnations, members, empty),
        page.homes,
        empty.source,
      );
    });
    if (chunk === 0 && name === '') posts.push(...listPostsWithoutRecord(found, empty.source));
    if (names.length < left.length) return { posts, next: `${bucket} posts ${chunk} ${names.at(-1)!}` };
    return { posts, next: chunk + 1 < chunks ? `${bucket} posts ${chunk + 1}` : null };
  }

  /** The first posts, at least one if there is one. */
  #takePosts(posts: readonly string[], records: RecordsPage['records'], limit: number): string[] {
    const taken: string[] = [];
    let size = 0;
    for (const post of posts) {
      const members = this.#countMembers(records.get(post)!);
      if (size >= limit || (taken.length > 0 && size + members > MEMBERS_TOGETHER_MAX)) break;
      taken.push(post);
      size += 1 + members;
    }
    return taken;
  }

  #countMembers(record: RedisPostRecord): number {
    return this.metrics.list.reduce((sum, { index }) => sum + record.memberCount(index), 0);
  }

  #buildPost(
    post: string,
    record: RedisPostRecord,
    incarnations: readonly RegionIncarnation[],
    members: StampedMembers,
    { source, stableStamp }: Delta,
  ): PostDelta {
    const registers: ToggleRegister[] = [];
    const lists = this.metrics.list.flatMap(({ kind, index: metric }) => {
      if (!kind.hasMembers) return [];
      const all = members.get(`${post} ${metric}`) ?? [];
      for (const { actor, stamp } of all) if (stamp > stableStamp) registers.push({ metric, actor, stamp, on: true });
      return splitMembers(
        metric,
        all.filter(({ stamp }) => stamp <= stableStamp).map(({ actor }) => actor),
      );
    });
    const entries = listEntries(record, source, incarnations);
    return { post, updatedAtMs: record.updatedAtMs, entries, registers, members: lists };
  }
}

/** Leaves the field out of most posts. */
function withHomes(post: PostDelta, page: RecordsPage['homes'], source: RegionIncarnation): PostDelta {
  const homes = page.get(post.post);
  if (homes === undefined) return post;
  return { ...post, homes: homes.map((home) => ({ ...home, confirmations: confirmBy(source, home.confirmations) })) };
}

/** The own confirmation names the incarnation that counts now, which the bucket may not have yet. */
function confirmBy(source: RegionIncarnation, confirmations: readonly HomeConfirmation[]): HomeConfirmation[] {
  return confirmations.map((one) => (one.region === source.region ? { ...one, ...source } : one));
}

/** Homes of metrics that were never counted. */
function listPostsWithoutRecord(
  { records, homes }: Pick<RecordsPage, 'records' | 'homes'>,
  source: RegionIncarnation,
): PostDelta[] {
  const posts = [...homes.keys()].filter((post) => !records.has(post));
  return posts.map((post) =>
    withHomes({ post, updatedAtMs: 0, entries: [], registers: [], members: [] }, homes, source),
  );
}

function groupByPost(registers: Iterable<PostRegister>): Map<string, ToggleRegister[]> {
  const groups = groupBy(registers, ({ post }) => post);
  return new Map([...groups].map(([post, group]) => [post, group.map(({ register }) => register)]));
}

function startCursor(bucket: number | undefined): string | null {
  return bucket === undefined ? null : `${bucket} ${REGISTER_STORAGES[0]} 0`;
}

function listEntries(
  record: RedisPostRecord,
  source: RegionIncarnation,
  incarnations: readonly RegionIncarnation[],
): PostDelta['entries'] {
  return [...record.ownEntries(source), ...record.remoteEntries(incarnations)];
}

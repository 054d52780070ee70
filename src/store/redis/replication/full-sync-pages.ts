import { splitMembers } from '../../../counters/replication/build-delta.js';
import type { Metrics } from '../../../counters/metrics.js';
import type { RegionIncarnation } from '../../../counters/pn-counter.js';
import type { PostDelta, ToggleRegister, Delta } from '../../../counters/replication/delta.js';
import type { FullSyncPage } from '../../replicated-store.js';
import { emptyFullSync, type ReplicationStatus } from '../codec/delta-decoder.js';
import type { RedisPostRecord } from '../codec/redis-post-record.js';
import type { BucketReader, StampedMembers } from './bucket-reader.js';

/** Members of one post that may be read beside those of others. */
const TOGETHER_MAX = 5_000;
/** Where registers stand: in the logs of what was given here and heard of others, and what these have no room for. */
const KINDS = ['r', 'h', 'i'] as const;

export interface ScansOptions {
  readonly region: string;
  readonly metrics: Metrics;
  readonly keyOf: (bucket: number) => string;
  readonly standing: (bucket: number) => Promise<ReplicationStatus>;
}

/**
 * Shows what buckets hold, page by page: of each first the toggles that are off and have a register (r, h, i: in the order in which
 * registers move), then its posts, chunk by chunk (p). The floor is read before what it is said of: whatever changes meanwhile has a
 * later stamp, and is told by the feed of whoever gave it.
 */
export class FullSyncPages {
  constructor(
    private readonly reads: BucketReader,
    private readonly options: ScansOptions,
  ) {}

  /** @param cursor  `bucket r place`, the same of h and i, or `bucket p chunk post`: after that post, in order of their names */
  async readPage(buckets: ReadonlySet<number>, cursor: string, limit: number): Promise<FullSyncPage> {
    const order = [...buckets].sort((a, b) => a - b);
    for (let at: string | null = cursor === '' ? startOf(order[0]) : cursor; at !== null;) {
      const bucket = Number(at.split(' ')[0]);
      const page = await this.#step(bucket, at, limit);
      const next: string | null = page.next ?? startOf(order.find((one) => one > bucket));
      if (page.posts.length > 0) return { deltas: [{ ...page.about, posts: page.posts }], next };
      at = next;
    }
    return { deltas: [], next: null };
  }

  /** All that is known of one post, without members. */
  async readPosts(bucket: number, posts: readonly string[]): Promise<Delta[]> {
    const key = this.options.keyOf(bucket);
    const standing = await this.options.standing(bucket);
    const about = emptyFullSync(this.options.region, bucket, standing);
    const { records, incarnations: lives } = await this.reads.readPosts(key, posts);
    const registers = new Map<string, Map<string, ToggleRegister>>(
      posts.map((post) => [post, new Map<string, ToggleRegister>()]),
    );
    for (const kind of KINDS) {
      let cursor = '0';
      do {
        const page = await this.reads.readRegisters(key, kind, cursor, standing.stableStamp, posts);
        for (const { post, ...one } of page.registers) {
          registers.get(post)!.set(`${one.metric} ${one.actor.hi} ${one.actor.lo}`, one);
        }
        cursor = page.next;
      } while (cursor !== '0');
    }
    return posts.map((post) => {
      const record = records.get(post);
      const entries = record === undefined ? [] : entriesOf(record, about.source, lives);
      const updatedAtMs = record?.updatedAtMs ?? 0;
      return {
        ...about,
        posts: [{ post, updatedAtMs, entries, registers: [...registers.get(post)!.values()], members: [] }],
      };
    });
  }

  async #step(
    bucket: number,
    cursor: string,
    limit: number,
  ): Promise<{ about: Delta; posts: PostDelta[]; next: string | null }> {
    const [, kind, place, name = ''] = cursor.split(' ');
    const standing = await this.options.standing(bucket);
    const about = emptyFullSync(this.options.region, bucket, standing);
    if (kind === 'p') return { about, ...(await this.#posts(bucket, Number(place), name, limit, about)) };
    const key = this.options.keyOf(bucket);
    const at = KINDS.findIndex((one) => one === kind);
    const { registers, next } = await this.reads.readRegisters(key, KINDS[at]!, place!, standing.stableStamp, []);
    const after = `${bucket} ${KINDS[at + 1] ?? 'p'} 0`;
    return { about, posts: await this.#off(key, registers), next: next === '0' ? after : `${bucket} ${kind!} ${next}` };
  }

  /** Of the toggles that are off; those that are on are told with the members. */
  async #off(key: string, registers: readonly (ToggleRegister & { readonly post: string })[]): Promise<PostDelta[]> {
    const off = new Map<string, ToggleRegister[]>();
    for (const { post, ...register } of registers) {
      if (register.on) continue;
      const list = off.get(post) ?? [];
      off.set(post, list);
      list.push(register);
    }
    if (off.size === 0) return [];
    const { records } = await this.reads.readPosts(key, [...off.keys()]);
    return [...off].map(([post, list]) => {
      const updatedAtMs = records.get(post)?.updatedAtMs ?? 0;
      return { post, updatedAtMs, entries: [], registers: list, members: [] };
    });
  }

  /** Posts of a chunk, after the one of that name, about `limit` things. */
  async #posts(
    bucket: number,
    chunk: number,
    name: string,
    limit: number,
    { source, stableStamp: floor }: Delta,
  ): Promise<{ posts: PostDelta[]; next: string | null }> {
    const key = this.options.keyOf(bucket);
    const { chunks, ...found } = await this.reads.readChunk(key, chunk);
    let { incarnations: lives, records } = found;
    const left = [...records.keys()].filter((post) => post > name).sort();
    const posts: string[] = [];
    for (let things = 0; posts.length < left.length && things < limit;) {
      const post = left[posts.length]!;
      const members = this.#membersIn(records.get(post)!);
      if (posts.length > 0 && things + members > TOGETHER_MAX) break;
      posts.push(post);
      things += 1 + members;
    }
    let again = false;
    const members = await this.reads.readMembers(key, async () => {
      if (again) ({ incarnations: lives, records } = await this.reads.readPosts(key, posts));
      again = true;
      return new Map(posts.map((post) => [post, records.get(post)!]));
    });
    const next =
      posts.length < left.length
        ? `${bucket} p ${chunk} ${posts.at(-1)!}`
        : chunk + 1 < chunks
          ? `${bucket} p ${chunk + 1}`
          : null;
    return { posts: posts.map((post) => this.#shown(post, records.get(post)!, lives, members, source, floor)), next };
  }

  #membersIn(record: RedisPostRecord): number {
    return this.options.metrics.list.reduce((sum, { index }) => sum + record.memberCount(index), 0);
  }

  #shown(
    post: string,
    record: RedisPostRecord,
    lives: readonly RegionIncarnation[],
    members: StampedMembers,
    source: RegionIncarnation,
    floor: number,
  ): PostDelta {
    const registers: ToggleRegister[] = [];
    const lists = this.options.metrics.list.flatMap(({ kind, index: metric }) => {
      if (kind !== 'toggle') return [];
      const all = members.get(`${post} ${metric}`) ?? [];
      for (const { actor, stamp } of all) if (stamp > floor) registers.push({ metric, actor, stamp, on: true });
      return splitMembers(
        metric,
        all.filter(({ stamp }) => stamp <= floor).map(({ actor }) => actor),
      );
    });
    return {
      post,
      updatedAtMs: record.updatedAtMs,
      entries: entriesOf(record, source, lives),
      registers,
      members: lists,
    };
  }
}

function startOf(bucket: number | undefined): string | null {
  return bucket === undefined ? null : `${bucket} r 0`;
}

function entriesOf(
  record: RedisPostRecord,
  source: RegionIncarnation,
  lives: readonly RegionIncarnation[],
): PostDelta['entries'] {
  return [...record.ownEntries(source), ...record.remoteEntries(lives)];
}

import { inParts } from '../../../counters/replication/build-delta.js';
import type { Metrics } from '../../../counters/metrics.js';
import type { Replica } from '../../../counters/pn-counter.js';
import type { PostShipment, Register, Shipment } from '../../../counters/replication/delta.js';
import type { ScanPage } from '../../replicated-store.js';
import { emptyScan, type Standing } from '../codec/delta-decoder.js';
import type { PostRecord } from '../codec/redis-post-record.js';
import type { BucketReader, StampedMembers } from './bucket-reader.js';

/** Members of one post that may be read beside those of others. */
const TOGETHER_MAX = 5_000;
/** Where registers stand: in the logs of what was given here and heard of others, and what these have no room for. */
const KINDS = ['r', 'h', 'i'] as const;

export interface ScansOptions {
  readonly region: string;
  readonly metrics: Metrics;
  readonly keyOf: (bucket: number) => string;
  readonly standing: (bucket: number) => Promise<Standing>;
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
  async page(buckets: ReadonlySet<number>, cursor: string, limit: number): Promise<ScanPage> {
    const order = [...buckets].sort((a, b) => a - b);
    for (let at: string | null = cursor === '' ? startOf(order[0]) : cursor; at !== null;) {
      const bucket = Number(at.split(' ')[0]);
      const page = await this.#step(bucket, at, limit);
      const next: string | null = page.next ?? startOf(order.find((one) => one > bucket));
      if (page.posts.length > 0) return { shipments: [{ ...page.about, posts: page.posts }], next };
      at = next;
    }
    return { shipments: [], next: null };
  }

  /** All that is known of one post, without members. */
  async show(bucket: number, posts: readonly string[]): Promise<Shipment[]> {
    const key = this.options.keyOf(bucket);
    const standing = await this.options.standing(bucket);
    const about = emptyScan(this.options.region, bucket, standing);
    const { records, lives } = await this.reads.posts(key, posts);
    const registers = new Map<string, Map<string, Register>>(posts.map((post) => [post, new Map<string, Register>()]));
    for (const kind of KINDS) {
      let cursor = '0';
      do {
        const page = await this.reads.registers(key, kind, cursor, standing.floor, posts);
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
  ): Promise<{ about: Shipment; posts: PostShipment[]; next: string | null }> {
    const [, kind, place, name = ''] = cursor.split(' ');
    const standing = await this.options.standing(bucket);
    const about = emptyScan(this.options.region, bucket, standing);
    if (kind === 'p') return { about, ...(await this.#posts(bucket, Number(place), name, limit, about)) };
    const key = this.options.keyOf(bucket);
    const at = KINDS.findIndex((one) => one === kind);
    const { registers, next } = await this.reads.registers(key, KINDS[at]!, place!, standing.floor, []);
    const after = `${bucket} ${KINDS[at + 1] ?? 'p'} 0`;
    return { about, posts: await this.#off(key, registers), next: next === '0' ? after : `${bucket} ${kind!} ${next}` };
  }

  /** Of the toggles that are off; those that are on are told with the members. */
  async #off(key: string, registers: readonly (Register & { readonly post: string })[]): Promise<PostShipment[]> {
    const off = new Map<string, Register[]>();
    for (const { post, ...register } of registers) {
      if (register.on) continue;
      const list = off.get(post) ?? [];
      off.set(post, list);
      list.push(register);
    }
    if (off.size === 0) return [];
    const { records } = await this.reads.posts(key, [...off.keys()]);
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
    { source, floor }: Shipment,
  ): Promise<{ posts: PostShipment[]; next: string | null }> {
    const key = this.options.keyOf(bucket);
    const { chunks, ...found } = await this.reads.chunk(key, chunk);
    let { lives, records } = found;
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
    const members = await this.reads.members(key, async () => {
      if (again) ({ lives, records } = await this.reads.posts(key, posts));
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

  #membersIn(record: PostRecord): number {
    return this.options.metrics.list.reduce((sum, { index }) => sum + record.members(index), 0);
  }

  #shown(
    post: string,
    record: PostRecord,
    lives: readonly Replica[],
    members: StampedMembers,
    source: Replica,
    floor: number,
  ): PostShipment {
    const registers: Register[] = [];
    const lists = this.options.metrics.list.flatMap(({ kind, index: metric }) => {
      if (kind !== 'toggle') return [];
      const all = members.get(`${post} ${metric}`) ?? [];
      for (const { actor, stamp } of all) if (stamp > floor) registers.push({ metric, actor, stamp, on: true });
      return inParts(
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

function entriesOf(record: PostRecord, source: Replica, lives: readonly Replica[]): PostShipment['entries'] {
  return [...record.ownEntries(source), ...record.otherEntries(lives)];
}

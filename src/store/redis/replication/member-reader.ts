import type { Key64 } from '../../../counters/ids.js';
import type { Metrics } from '../../../counters/metrics.js';
import type { RegionIncarnation } from '../../../counters/pn-counter.js';
import type { ToggleRegister } from '../../../counters/replication/delta.js';
import type { RedisClient } from '../client/redis-client.js';
import { parseDecimalKey } from '../codec/decimal-key.js';
import { MsgpackReader } from '../codec/msgpack-reader.js';
import { RedisPostRecord } from '../codec/redis-post-record.js';
import { Script } from '../scripts/script.js';

/** Members read by one call, and registers looked at: about a millisecond of the server's time. */
const CALL_MEMBERS_MAX = 1_000;
const CALL_REGISTERS_MAX = 500;
/** The same of the logs of words, of which each call has to look at all that is later, too. */
const CALL_WORDS_MAX = 2_000;
/** How often it is read again when a set has grown in between. */
const ATTEMPTS = 5;

export interface RecordsPage {
  /** Of other regions, by the slot of their entries, from 1. */
  readonly incarnations: readonly RegionIncarnation[];
  /** Chunks of posts that the bucket has. */
  readonly chunks: number;
  readonly records: ReadonlyMap<string, RedisPostRecord>;
}

/** A member, and the stamp of its last word on the toggle, 0 if there is none. */
export interface StampedMember {
  readonly actor: Key64;
  readonly stamp: number;
}

/** Members by toggle: `post metric`. */
export type StampedMembers = ReadonlyMap<string, readonly StampedMember[]>;

export interface RegistersPage {
  readonly registers: readonly (ToggleRegister & { readonly post: string })[];
  /** `0`: that was all. */
  readonly next: string;
}

interface Chunk {
  readonly post: string;
  readonly metric: number;
  readonly chunk: number;
  readonly chunks: number;
}

class HasGrown extends Error {}

/** Reads what buckets hold for other regions, in parts that each keep the server for about a millisecond. */
export class BucketReader {
  readonly #records = new Script('read-records-1', true);
  readonly #members = new Script('read-members-1');
  readonly #registers = new Script('read-registers-1');
  readonly #toggles: readonly number[];

  constructor(
    private readonly connections: RedisClient,
    metrics: Metrics,
  ) {
    this.#toggles = metrics.list.filter(({ kind }) => kind === 'toggle').map(({ index }) => index);
  }

  readChunk(key: string, chunk: number): Promise<RecordsPage> {
    return this.#recordsOf(key, chunk, []);
  }

  readPosts(key: string, posts: readonly string[]): Promise<RecordsPage> {
    return this.#recordsOf(key, -1, posts);
  }

  /** All members of these posts; `records` gives them, again if a set has grown while it was read. */
  async readMembers(
    key: string,
    records: () => Promise<ReadonlyMap<string, RedisPostRecord>>,
  ): Promise<StampedMembers> {
    for (let attempt = 1; ; attempt++) {
      try {
        return await this.#membersOf(key, await records());
      } catch (error) {
        if (!(error instanceof HasGrown) || attempt === ATTEMPTS) throw error;
      }
    }
  }

  /**
   * Last words on toggles.
   * @param kind   r: those given here, h: those heard of other regions, recently; i: those before them
   * @param posts  whose; none: of all
   */
  async readRegisters(
    key: string,
    kind: 'r' | 'h' | 'i',
    cursor: string,
    above: number,
    posts: readonly string[],
  ): Promise<RegistersPage> {
    const many = kind === 'i' ? CALL_REGISTERS_MAX : CALL_WORDS_MAX;
    const args = [kind, cursor, many, above, JSON.stringify(posts)];
    const [next, list] = (await this.connections.query(this.#registers, [key], args)) as [string, (string | number)[]];
    const registers = [];
    for (let i = 0; i < list.length; i += 5) {
      const [post, metric, actor, stamp, on] = list.slice(i, i + 5) as [string, number, string, string, number];
      registers.push({ post, metric, actor: parseDecimalKey(actor), stamp: Number(stamp), on: on === 1 });
    }
    return { registers, next };
  }

  async #recordsOf(key: string, chunk: number, posts: readonly string[]): Promise<RecordsPage> {
    const reply = await this.connections.query(this.#records, [key], [chunk, JSON.stringify(posts)]);
    const [lives, chunks, ...list] = reply as [Buffer, number, ...Buffer[]];
    const records = new Map<string, RedisPostRecord>();
    for (let i = 0; i < list.length; i += 2)
      records.set(list[i]!.toString('latin1'), new RedisPostRecord(list[i + 1]!));
    return { incarnations: livesOf(lives), chunks, records };
  }

  async #membersOf(key: string, records: ReadonlyMap<string, RedisPostRecord>): Promise<StampedMembers> {
    const found = new Map<string, StampedMember[]>();
    let part: Chunk[] = [];
    let members = 0;
    const read = async (): Promise<void> => {
      if (part.length > 0) await this.#chunksOf(key, part, found);
      part = [];
      members = 0;
    };
    for (const [post, record] of records) {
      for (const metric of this.#toggles) {
        if (record.memberCount(metric) === 0) continue;
        const chunks = record.chunkCount(metric);
        found.set(`${post} ${metric}`, []);
        for (let chunk = 0; chunk < chunks; chunk++) {
          if (members >= CALL_MEMBERS_MAX) await read();
          part.push({ post, metric, chunk, chunks });
          members += record.memberCount(metric) / chunks;
        }
      }
    }
    await read();
    return found;
  }

  async #chunksOf(key: string, part: readonly Chunk[], found: ReadonlyMap<string, StampedMember[]>): Promise<void> {
    const asked = JSON.stringify(part.flatMap(({ post, metric, chunk, chunks }) => [post, metric, chunk, chunks]));
    const reply = (await this.connections.query(this.#members, [key], [asked])) as (string[] | null)[];
    for (const [i, { post, metric }] of part.entries()) {
      const list = reply[i];
      if (list == null) throw new HasGrown(`${post} has other chunks of metric ${metric} than before`);
      const members = found.get(`${post} ${metric}`)!;
      for (let j = 0; j < list.length; j += 2)
        members.push({ actor: parseDecimalKey(list[j]!), stamp: Number(list[j + 1]) });
    }
  }
}

function livesOf(packed: Buffer): RegionIncarnation[] {
  const values = new MsgpackReader(packed);
  const lives: RegionIncarnation[] = [];
  while (!values.isDone)
    lives.push({ region: values.readText(), epoch: values.readInteger(), nonce: values.readInteger() });
  return lives;
}

import type { RegionIncarnation } from '../../../counters/pn-counter.js';
import type { EntryDelta } from '../../../counters/replication/delta.js';
import { MsgpackReader } from './msgpack-reader.js';

/** 2024-01-01, in milliseconds since 1970; a record's first bytes count from there. */
const SINCE_MS = 1_704_067_200_000;
const TIME_BYTES = 5;
/** Parts of a metric, by tag: 4 × metric + part, and 64 more for each slot of a life of another region. */
const MEMBERS = 0;
const MORE_CHUNKS = 1;
const P = 2;
const N = 3;
const PARTS = 4;
const TAGS = 64;

/** A post as it stands in Redis: docs/redis-keys.md draws the bytes. */
export class RedisPostRecord {
  readonly updatedAtMs: number;
  readonly #parts = new Map<number, number>();

  constructor(bytes: Buffer) {
    this.updatedAtMs = SINCE_MS + bytes.readUIntBE(0, TIME_BYTES);
    const values = new MsgpackReader(bytes.subarray(TIME_BYTES));
    // Its version.
    values.readInteger();
    while (!values.isDone) this.#parts.set(values.readInteger(), values.readInteger());
  }

  memberCount(metric: number): number {
    return this.#parts.get(PARTS * metric + MEMBERS) ?? 0;
  }

  /** Chunks that hold its members. */
  chunkCount(metric: number): number {
    return (this.#parts.get(PARTS * metric + MORE_CHUNKS) ?? 0) + 1;
  }

  /** Of the own region, as of its present life. */
  ownEntries(incarnation: RegionIncarnation): EntryDelta[] {
    return this.#entries(0, TAGS).map(({ metric, p, n }) => ({ metric, incarnation, p, n }));
  }

  /**
   * @param lives of other regions, by the slot of their entries, from 1
   * @throws Error when an entry is of a life that is not among them
   */
  remoteEntries(lives: readonly RegionIncarnation[]): EntryDelta[] {
    return this.#entries(TAGS, Infinity).map(({ slot, metric, p, n }) => {
      const incarnation = lives[slot - 1];
      if (incarnation === undefined) throw new Error(`a record names life ${slot}, and its bucket has ${lives.length}`);
      return { metric, incarnation, p, n };
    });
  }

  /** With tags from `first` to below `end`. Where a region has an entry it has a P or an N, even if it is 0. */
  #entries(first: number, end: number): { slot: number; metric: number; p: number; n: number }[] {
    const tags = [...this.#parts.keys()].filter((tag) => tag >= first && tag < end);
    const bases = new Set(tags.filter((tag) => tag % PARTS >= P).map((tag) => tag - (tag % PARTS)));
    return [...bases].map((base) => ({
      slot: Math.floor(base / TAGS),
      metric: (base % TAGS) / PARTS,
      p: this.#parts.get(base + P) ?? 0,
      n: this.#parts.get(base + N) ?? 0,
    }));
  }
}

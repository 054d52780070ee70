import { COUNT_MAX, type RegionIncarnation } from '../../../counters/pn-counter.js';
import type { EntryDelta } from '../../../counters/replication/delta.js';
import { SINCE_MS } from '../../../counters/replication/hybrid-clock.js';
import { MsgpackReader } from './msgpack-reader.js';

/** A record begins with the ms since SINCE_MS. */
const TIME_BYTES = 5;
/** Tags of a metric's fields: the number of members, their chunks less one, P and N of an entry. */
export const RECORD_TAGS = { MEMBERS: 0, MORE_CHUNKS: 1, P: 2, N: 3 } as const;
export const TAGS_PER_METRIC = 4;
/** Entries of other regions have higher tags: this many more for each slot of their incarnations, which begin at 1. */
export const TAGS_PER_SLOT = 64;
const { MEMBERS, MORE_CHUNKS, P, N } = RECORD_TAGS;

/** A post's record in Redis. docs/redis-keys.md shows its bytes. */
export class RedisPostRecord {
  readonly updatedAtMs: number;
  readonly version: number;
  readonly #fields = new Map<number, number>();

  constructor(bytes: Buffer) {
    this.updatedAtMs = SINCE_MS + bytes.readUIntBE(0, TIME_BYTES);
    const values = new MsgpackReader(bytes.subarray(TIME_BYTES));
    this.version = values.readInteger();
    while (!values.isDone) this.#fields.set(values.readInteger(), values.readInteger());
  }

  memberCount(metric: number): number {
    return this.#fields.get(TAGS_PER_METRIC * metric + MEMBERS) ?? 0;
  }

  /** Number of chunks of members. */
  chunkCount(metric: number): number {
    return (this.#fields.get(TAGS_PER_METRIC * metric + MORE_CHUNKS) ?? 0) + 1;
  }

  /** By metric index, over all regions. */
  computeTotals(metricCount: number): number[] {
    const totals = new Array<number>(metricCount).fill(0);
    for (const [tag, value] of this.#fields) {
      const field = tag % TAGS_PER_METRIC;
      const metric = ((tag % TAGS_PER_SLOT) - field) / TAGS_PER_METRIC;
      if (field === MORE_CHUNKS || metric >= metricCount) continue;
      totals[metric]! += field === N ? -value : value;
    }
    return totals.map((total) => Math.min(total, COUNT_MAX));
  }

  /** @param incarnation the current one of this region: it has all that earlier ones counted */
  ownEntries(incarnation: RegionIncarnation): EntryDelta[] {
    return this.#entries(0, TAGS_PER_SLOT).map(({ metric, p, n }) => ({ metric, incarnation, p, n }));
  }

  /**
   * @param incarnations of other regions, by the slots of their entries, from 1
   * @throws Error when the record has an entry of another slot
   */
  remoteEntries(incarnations: readonly RegionIncarnation[]): EntryDelta[] {
    return this.#entries(TAGS_PER_SLOT, Infinity).map(({ slot, metric, p, n }) => {
      const incarnation = incarnations[slot - 1];
      if (incarnation === undefined) throw new Error(`a record has an entry of slot ${slot} of ${incarnations.length}`);
      return { metric, incarnation, p, n };
    });
  }

  /** Reads entries with tags from `first` to below `end`. An entry has a P or an N, even if it is 0. */
  #entries(first: number, end: number): { slot: number; metric: number; p: number; n: number }[] {
    const tags = [...this.#fields.keys()].filter((tag) => tag >= first && tag < end);
    const bases = new Set(tags.filter((tag) => tag % TAGS_PER_METRIC >= P).map((tag) => tag - (tag % TAGS_PER_METRIC)));
    return [...bases].map((base) => ({
      slot: Math.floor(base / TAGS_PER_SLOT),
      metric: (base % TAGS_PER_SLOT) / TAGS_PER_METRIC,
      p: this.#fields.get(base + P) ?? 0,
      n: this.#fields.get(base + N) ?? 0,
    }));
  }
}

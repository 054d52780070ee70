import { fmix32 } from '../../../common/hash.js';
import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import type { Key64 } from '../../../counters/ids.js';
import { WriteSet } from './write-set.js';
import { MemberTable } from './member-table.js';
import { KEY64_BYTES, SortedKeyArray } from './sorted-key-array.js';
import type { MemberLocation } from './post-record.js';
import type { LmdbTable } from './lmdb-table.js';

/** The methods of a table that members use, in memory. */
class MapTable {
  readonly rows = new Map<string, Buffer>();

  get(key: string): Buffer | undefined {
    const value = this.rows.get(key);
    return value && Buffer.from(value);
  }

  put(key: string, { buffer, start, end }: Buffer & { start: number; end: number }): void {
    this.rows.set(key, Buffer.from(buffer.slice(start, end)));
  }

  remove(key: string): void {
    this.rows.delete(key);
  }
}

class Members {
  readonly location: MemberLocation = {
    size: 0,
    chunks: 0,
    inline: new SortedKeyArray(KEY64_BYTES),
    loaded: null,
    registers: null,
  };
  readonly #table = new MapTable();
  readonly #changes = new WriteSet();
  readonly #members = new MemberTable(this.#table as unknown as LmdbTable, this.#changes);

  has(actor: Key64): boolean {
    return this.#members.has('post', 0, this.location, actor);
  }

  set(actor: Key64, on: boolean): void {
    if (this.has(actor) !== on) this.#members.set('post', 0, this.location, actor, on);
  }

  /** Writes the members and reads their chunks back. */
  get chunkSizes(): number[] {
    this.#changes.write();
    this.#changes.commitDone();
    this.location.loaded = null;
    return [...this.#table.rows.values()].map((chunk) => chunk.length / KEY64_BYTES);
  }
}

const KINDS: Record<string, (i: number) => Key64> = {
  'random 64-bit keys': (i) => ({ hi: mixed(i, 1), lo: mixed(i, 2) }),
  'small whole numbers in a row': (i) => ({ hi: 0, lo: i }),
  'large whole numbers in a row': (i) => ({ hi: 267_750_000 + Math.floor(i / 1000), lo: (i * 4_194_304) >>> 0 }),
};

/** Random numbers that are the same in every run. */
function mixed(i: number, salt: number): number {
  return fmix32(Math.imul(i, 0x9e3779b1) + salt);
}

describe.each(Object.keys(KINDS))('members that are %s', (kind) => {
  const actor = KINDS[kind]!;

  it('members that are %s equal those of a Set', () => {
    const members = new Members();
    const set = new Set<number>();
    for (let step = 0; step < 40_000; step++) {
      const i = mixed(step, 3) % 20_000;
      const on = mixed(step, 4) % 4 > 0;
      members.set(actor(i), on);
      if (on) set.add(i);
      else set.delete(i);
    }
    expect(members.location.size).toBe(set.size);
    for (let i = 0; i < 21_000; i++) if (members.has(actor(i)) !== set.has(i)) throw new Error(`member ${i} is wrong`);
    const inChunks = members.chunkSizes.reduce((sum, size) => sum + size, 0);
    expect(Math.abs(inChunks - set.size)).toBeLessThanOrEqual(members.location.inline.size);
  });

  it('members that are %s fill their chunks evenly', () => {
    const members = new Members();
    for (let i = 0; i < 20_000; i++) members.set(actor(i), true);
    const sizes = members.chunkSizes;
    expect(sizes).toHaveLength(members.location.chunks);
    expect(20_000 / sizes.length).toBeGreaterThan(90);
    // A chunk that has not been split yet holds twice the mean; one over 2,000 bytes would take a page of its own.
    expect(Math.max(...sizes) * KEY64_BYTES).toBeLessThan(2_000);
    expect(Math.min(...sizes)).toBeGreaterThan(24);
  });
});

describe('members', () => {
  it('a small set of members is in the record of the post', () => {
    const members = new Members();
    for (let i = 0; i < 16; i++) members.set({ hi: 0, lo: i }, true);
    expect(members.location).toMatchObject({ size: 16, chunks: 0 });
    expect(members.location.inline.size).toBe(16);
    members.set({ hi: 0, lo: 16 }, true);
    expect(members.location).toMatchObject({ size: 17, chunks: 1 });
    expect(members.location.inline.size).toBe(0);
    expect(members.chunkSizes).toEqual([17]);
  });

  it('members that have all left can join again', () => {
    const members = new Members();
    const actors = Array.from({ length: 500 }, (_, lo) => ({ hi: 7, lo }));
    for (const on of [true, false, true]) for (const actor of actors) members.set(actor, on);
    expect(members.location.size).toBe(500);
    expect(actors.every((actor) => members.has(actor))).toBe(true);
  });

  it('members equal those of a Set, in any order of joining and leaving', () => {
    const key = fc.record({ hi: fc.nat(3), lo: fc.nat({ max: 0xffffffff }) });
    fc.assert(
      fc.property(
        fc.uniqueArray(key, { selector: ({ hi, lo }) => `${hi}:${lo}` }),
        fc.infiniteStream(fc.nat()),
        (keys, picks) => {
          const members = new Members();
          const set = new Set<Key64>();
          for (let step = 0; step < 4 * keys.length; step++) {
            const actor = keys[(picks.next().value as number) % keys.length]!;
            const on = !set.has(actor) || step % 3 === 0;
            members.set(actor, on);
            if (on) set.add(actor);
            else set.delete(actor);
          }
          expect(keys.map((actor) => members.has(actor))).toEqual(keys.map((actor) => set.has(actor)));
        },
      ),
      { numRuns: 50 },
    );
  });
});

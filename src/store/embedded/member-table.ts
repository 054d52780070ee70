import type { Key64 } from '../../counters/ids.js';
import { indexOfKey, KEY64_BYTES, type KeySet, NO_KEYS, withKey, withoutKey } from './bytes.js';
import type { MemberPlace } from './post-record.js';
import type { Table } from './table.js';

/** Up to this many members stand in the post's own record: most posts have few likes, and need no chunk. */
const INLINE_MAX = 16;
/** Mean members a chunk: 768 bytes, so that LMDB's 4 KB pages fill well and a like rewrites little. */
const CHUNK_MEAN = 96;
/** A chunk's number is kept in three bytes; a set of over 1.6 billion grows in its chunks. */
const CHUNKS_MAX = 2 ** 24;

/** Bytes with their bits in the opposite order. */
const REVERSED = Uint8Array.from({ length: 256 }, (_, byte) =>
  [0, 1, 2, 3, 4, 5, 6, 7].reduce((reversed, bit) => reversed | (((byte >>> bit) & 1) << (7 - bit)), 0),
);

/**
 * The actors of a toggle, in chunks of sorted 64-bit keys, by linear hashing (Litwin, "Linear hashing: a new tool
 * for file and table addressing", VLDB 1980): chunk numbers 0 to `chunks` - 1; a chunk is found by arithmetic, without
 * an index, and the set grows by splitting one chunk at a time. A set that shrinks keeps its chunks.
 */
export class MemberTable {
  constructor(private readonly table: Table) {}

  has(post: string, metric: number, place: MemberPlace, actor: Key64): boolean {
    return indexOfKey(this.#setOf(post, metric, place, actor), actor) >= 0;
  }

  /** Puts in an actor who is out, or out one who is in. */
  set(post: string, metric: number, place: MemberPlace, actor: Key64, on: boolean): void {
    const before = this.#setOf(post, metric, place, actor);
    const index = indexOfKey(before, actor);
    const after = on ? withKey(before, -1 - index, actor) : withoutKey(before, index);
    place.size += on ? 1 : -1;
    if (place.chunks > 0) {
      this.table.put(chunkKey(post, metric, chunkOf(actor, place.chunks)), after);
      if (place.size > place.chunks * CHUNK_MEAN && place.chunks < CHUNKS_MAX) this.#split(post, metric, place);
    } else if (place.size <= INLINE_MAX) place.inline = after;
    else {
      this.table.put(chunkKey(post, metric, 0), after);
      place.chunks = 1;
      place.inline = NO_KEYS;
    }
  }

  #setOf(post: string, metric: number, place: MemberPlace, actor: Key64): KeySet {
    if (place.chunks === 0) return place.inline;
    return this.table.get(chunkKey(post, metric, chunkOf(actor, place.chunks))) ?? NO_KEYS;
  }

  #split(post: string, metric: number, place: MemberPlace): void {
    const created = place.chunks;
    const split = created - powerBelow(created);
    const keys = this.table.get(chunkKey(post, metric, split)) ?? NO_KEYS;
    place.chunks += 1;
    const stay: Buffer[] = [];
    const move: Buffer[] = [];
    for (let at = 0; at < keys.length; at += KEY64_BYTES) {
      const key = { hi: keys.readUInt32BE(at), lo: keys.readUInt32BE(at + 4) };
      (chunkOf(key, place.chunks) === split ? stay : move).push(keys.subarray(at, at + KEY64_BYTES));
    }
    this.table.put(chunkKey(post, metric, split), Buffer.concat(stay));
    this.table.put(chunkKey(post, metric, created), Buffer.concat(move));
  }
}

/** The largest power of two that is at most `n`. */
function powerBelow(n: number): number {
  return 2 ** (31 - Math.clz32(n));
}

/** Numeric actors are not spread evenly, so their bits are mixed first (MurmurHash3's `fmix32`). */
function chunkOf({ hi, lo }: Key64, chunks: number): number {
  let h = Math.imul(hi, 0x9e3779b1) ^ lo;
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  h = (h ^ (h >>> 16)) >>> 0;
  const power = powerBelow(chunks);
  const wide = h % (2 * power);
  return wide < chunks ? wide : h % power;
}

/**
 * The number stands with its bits reversed, which puts a chunk beside the one that it was split from: their members
 * stay on one page of LMDB's. In order of creation half of every page would be empty (17 bytes a like against 12).
 */
function chunkKey(post: string, metric: number, chunk: number): string {
  const [low, middle, high] = [chunk & 0xff, (chunk >>> 8) & 0xff, chunk >>> 16];
  return (
    String.fromCharCode(metric) + post + String.fromCharCode(0, REVERSED[low]!, REVERSED[middle]!, REVERSED[high]!)
  );
}

import { fmix32 } from '../../../common/hash.js';
import type { Key64 } from '../../../counters/ids.js';
import type { ByteWriter } from './record-bytes.js';
import type { PendingWrite, WriteSet } from './write-set.js';
import { readCompressed, writeCompressed } from './prefix-compression.js';
import { NUMBERED_BYTES, SortedKeyArray } from './sorted-key-array.js';
import type { LmdbTable } from './lmdb-table.js';

/** A chunk's number is stored in three bytes. A set of more than 1.6 billion keys gets larger chunks instead of more. */
export const CHUNKS_MAX = 2 ** 24;

/** All bytes with their bits in the opposite order. */
const REVERSED = Uint8Array.from({ length: 256 }, (_, byte) =>
  [0, 1, 2, 3, 4, 5, 6, 7].reduce((reversed, bit) => reversed | (((byte >>> bit) & 1) << (7 - bit)), 0),
);

/** One of the values that a set is spread over. */
export class Chunk implements PendingWrite {
  isDirty = false;

  constructor(
    readonly key: string,
    readonly entries: SortedKeyArray,
    private readonly table: LmdbTable,
  ) {}

  write(writer: ByteWriter): void {
    const { entries } = this;
    if (entries.size === 0) {
      this.table.remove(this.key);
      return;
    }
    if (entries.width === NUMBERED_BYTES) writeCompressed(entries, writer);
    else writer.raw(entries.bytes, entries.byteLength);
    this.table.put(this.key, writer.value());
  }
}

/**
 * A set of keys in chunks of sorted entries, by linear hashing (Litwin, "Linear hashing: a new tool for file and table
 * addressing", VLDB 1980): chunks have numbers from 0 to count - 1 and are found by arithmetic, without an index, and the set grows
 * by splitting one chunk at a time. Chunks stay in memory once they were read.
 */
export class LinearHashSet {
  readonly #loaded = new Map<number, Chunk>();

  /**
   * @param prefix of the chunks' keys
   * @param width bytes of an entry
   */
  constructor(
    private readonly table: LmdbTable,
    private readonly changes: WriteSet,
    private readonly prefix: string,
    private readonly width: number,
  ) {}

  /** @returns the chunk of the key, whether it is in the set or not, where there are `count` chunks */
  chunkFor(key: Key64, count: number): Chunk {
    return this.#chunk(count === 1 ? 0 : chunkOf(key, count));
  }

  /** Creates the first chunk, of these entries. */
  createFirst(entries: SortedKeyArray): void {
    this.changes.add(this.#keep(0, entries));
  }

  /** Creates chunk `count` by splitting another one. */
  split(count: number): void {
    const number = count - powerBelow(count);
    const chunk = this.#chunk(number);
    const moved = chunk.entries.split((key) => chunkOf(key, count + 1) === number);
    this.changes.add(chunk);
    this.changes.add(this.#keep(count, moved));
  }

  getChunk(number: number): Chunk {
    return this.#chunk(number);
  }

  /** Reads all chunks, where there are `count`. */
  *readAll(count: number): Iterable<Chunk> {
    for (let number = 0; number < Math.max(count, 1); number++) yield this.#chunk(number);
  }

  #chunk(number: number): Chunk {
    const loaded = this.#loaded.get(number);
    if (loaded !== undefined) return loaded;
    const bytes = this.table.get(this.prefix + encodeChunkNumber(number));
    const isCompressed = bytes !== undefined && this.width === NUMBERED_BYTES;
    return this.#keep(number, isCompressed ? readCompressed(bytes) : new SortedKeyArray(this.width, bytes));
  }

  #keep(number: number, entries: SortedKeyArray): Chunk {
    const chunk = new Chunk(this.prefix + encodeChunkNumber(number), entries, this.table);
    this.#loaded.set(number, chunk);
    this.changes.loadedChunks += 1;
    return chunk;
  }
}

/** The largest power of two that is at most `n`. */
function powerBelow(n: number): number {
  return 1 << (31 - Math.clz32(n));
}

/** Mixes the bits first, because numeric keys are not spread evenly. */
function chunkOf({ hi, lo }: Key64, chunks: number): number {
  const h = fmix32(Math.imul(hi, 0x9e3779b1) ^ lo);
  const power = powerBelow(chunks);
  const wide = h & (2 * power - 1);
  return wide < chunks ? wide : h & (power - 1);
}

/** The inverse of encodeChunkNumber. */
export function parseChunkNumber(name: string): number {
  return REVERSED[name.charCodeAt(0)]! | (REVERSED[name.charCodeAt(1)]! << 8) | (REVERSED[name.charCodeAt(2)]! << 16);
}

/**
 * Reverses the bits of the number, which puts a chunk beside the one that it was split from, so that their entries stay on one page of
 * LMDB. In order of creation half of every page would be empty (17 bytes a like against 12).
 */
function encodeChunkNumber(chunk: number): string {
  return String.fromCharCode(REVERSED[chunk & 0xff]!, REVERSED[(chunk >>> 8) & 0xff]!, REVERSED[chunk >>> 16]!);
}

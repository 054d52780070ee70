import type { MarkGeneration, Marks } from '../../counters/bucket.js';
import type { Key64 } from '../../counters/ids.js';
import { LinearHashSet } from './disk/linear-hash-set.js';
import { ByteReader, type ByteWriter, encodeBigEndian } from './disk/record-bytes.js';
import { NUMBERED_BYTES, SortedKeyArray } from './disk/sorted-key-array.js';
import type { MarkTables } from './disk/lmdb-environment.js';
import type { PendingWrite, WriteSet } from './disk/write-set.js';

/** Mean marks a chunk: 960 bytes, so that few grow over what LMDB keeps within a page, 2 KB, before they are split. */
const CHUNK_MEAN = 64;
/**
 * Marks in the bucket's own value, 8 KB, before they go to their chunks: where a bucket has more chunks than that nearly
 * each mark takes a write of its own, and with fewer several share one.
 */
const RECENT_MAX = 512;

interface Generation {
  readonly number: number;
  readonly startedAtMs: number;
  marks: number;
  /** Marks of the generation before. */
  readonly marksBefore: number;
}

/** The last number of each key in a bucket, in two generations: older ones expire without being looked for. */
export class ExpiringMarks implements Marks, PendingWrite {
  isDirty = false;
  #generation: Generation;
  /** Marks that are not in their chunks yet, or changed since, so that a commit writes one value for many keys. */
  readonly #recent: SortedKeyArray;
  #chunks: LinearHashSet;
  #chunksBefore: LinearHashSet;

  /** @param prefix of the bucket's keys */
  constructor(
    private readonly tables: MarkTables,
    private readonly changes: WriteSet,
    private readonly prefix: string,
  ) {
    const bytes = tables.generations.get(prefix);
    const reader = bytes && new ByteReader(bytes);
    this.#generation = {
      number: reader?.varint() ?? 1,
      startedAtMs: reader?.varint() ?? 0,
      marks: reader?.varint() ?? 0,
      marksBefore: reader?.varint() ?? 0,
    };
    this.#recent = new SortedKeyArray(NUMBERED_BYTES, reader?.raw(reader.bytesLeft));
    this.#chunks = this.#openChunks(this.#generation.number);
    this.#chunksBefore = this.#openChunks(this.#generation.number - 1);
  }

  get generation(): MarkGeneration {
    return this.#generation;
  }

  /** How many marks the generation before has. */
  get marksBefore(): number {
    return this.#generation.marksBefore;
  }

  startGeneration(atMs: number): void {
    const { number, marks } = this.#generation;
    this.#flushRecent();
    this.#generation = { number: number + 1, startedAtMs: atMs, marks: 0, marksBefore: marks };
    this.#chunksBefore = this.#chunks;
    this.#chunks = this.#openChunks(number + 1);
    this.changes.add(this);
  }

  get(key: Key64): number {
    const { marks, marksBefore } = this.#generation;
    const recent = this.#recent.indexOf(key);
    if (recent >= 0) return this.#recent.numberAt(recent);
    return findNumber(this.#chunks, marks, key) ?? findNumber(this.#chunksBefore, marksBefore, key) ?? 0;
  }

  set(key: Key64, number: number): void {
    const index = this.#recent.indexOf(key);
    if (index >= 0) this.#recent.setNumber(index, number);
    else {
      this.#recent.insert(-1 - index, key);
      this.#recent.setNumber(-1 - index, number);
      if (findNumber(this.#chunks, this.#generation.marks, key) === undefined) this.#countMark();
      if (this.#recent.size >= RECENT_MAX) this.#flushRecent();
    }
    this.changes.add(this);
  }

  write(writer: ByteWriter): void {
    const { number, startedAtMs, marks, marksBefore } = this.#generation;
    writer.varint(number).varint(startedAtMs).varint(marks).varint(marksBefore);
    writer.raw(this.#recent.bytes, this.#recent.byteLength);
    this.tables.generations.put(this.prefix, writer.value());
  }

  /** Removes up to `limit` chunks of generations that are no longer read. @returns how many it has removed */
  purge(limit: number): number {
    const { marks } = this.tables;
    const oldest = Math.max(this.#generation.number - 1, 0);
    const keys = marks.keys(this.prefix + encodeBigEndian(0, 4), this.prefix + encodeBigEndian(oldest, 4), limit);
    for (const key of keys) this.changes.add({ isDirty: false, write: () => marks.remove(key) });
    return keys.length;
  }

  #countMark(): void {
    const generation = this.#generation;
    const chunks = chunksFor(generation.marks);
    generation.marks += 1;
    if (chunksFor(generation.marks) > chunks) this.#chunks.split(chunks);
  }

  /** Moves the recent marks to their chunks. */
  #flushRecent(): void {
    const recent = this.#recent;
    for (let i = 0; i < recent.size; i++) {
      const key = recent.keyAt(i);
      const chunk = this.#chunks.chunkFor(key, chunksFor(this.#generation.marks));
      const index = chunk.entries.indexOf(key);
      if (index < 0) chunk.entries.insert(-1 - index, key);
      chunk.entries.setNumber(index < 0 ? -1 - index : index, recent.numberAt(i));
      this.changes.add(chunk);
    }
    recent.clear();
  }

  #openChunks(generation: number): LinearHashSet {
    const prefix = this.prefix + encodeBigEndian(generation, 4);
    return new LinearHashSet(this.tables.marks, this.changes, prefix, NUMBERED_BYTES);
  }
}

/** The number of chunks that the marks of a generation are spread over. */
function chunksFor(marks: number): number {
  return Math.max(1, Math.ceil(marks / CHUNK_MEAN));
}

/** @param marks how many marks the chunks hold */
function findNumber(chunks: LinearHashSet, marks: number, key: Key64): number | undefined {
  if (marks === 0) return undefined;
  const { entries } = chunks.chunkFor(key, chunksFor(marks));
  const index = entries.indexOf(key);
  return index >= 0 ? entries.numberAt(index) : undefined;
}

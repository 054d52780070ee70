import type { MarkGeneration } from '../../counters/bucket.js';
import type { Key64 } from '../../counters/ids.js';
import { LinearHashSet } from './disk/linear-hash-set.js';
import { ByteReader, type ByteWriter, encodeBigEndian } from './disk/record-bytes.js';
import { NUMBERED_BYTES, SortedKeyArray } from './disk/sorted-key-array.js';
import type { LmdbTables } from './disk/lmdb-environment.js';
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

/** The last seq of each session in a bucket, its high-water mark, in two generations: older ones expire without being looked for. */
export class SessionSeqs implements PendingWrite {
  isDirty = false;
  #generation: Generation;
  /** Marks that are not in their chunks yet, or changed since, so that a commit writes one value for many sessions. */
  readonly #recent: SortedKeyArray;
  #chunks: LinearHashSet;
  #chunksBefore: LinearHashSet;

  /** @param prefix of the bucket's keys */
  constructor(
    private readonly tables: Pick<LmdbTables, 'marks' | 'generations'>,
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

  startGeneration(atMs: number): void {
    const { number, marks } = this.#generation;
    this.#flushRecent();
    this.#generation = { number: number + 1, startedAtMs: atMs, marks: 0, marksBefore: marks };
    this.#chunksBefore = this.#chunks;
    this.#chunks = this.#openChunks(number + 1);
    this.changes.add(this);
  }

  get(session: Key64): number {
    const { marks, marksBefore } = this.#generation;
    const recent = this.#recent.indexOf(session);
    if (recent >= 0) return this.#recent.numberAt(recent);
    return findSeq(this.#chunks, marks, session) ?? findSeq(this.#chunksBefore, marksBefore, session) ?? 0;
  }

  set(session: Key64, seq: number): void {
    const index = this.#recent.indexOf(session);
    if (index >= 0) this.#recent.setNumber(index, seq);
    else {
      this.#recent.insert(-1 - index, session);
      this.#recent.setNumber(-1 - index, seq);
      if (findSeq(this.#chunks, this.#generation.marks, session) === undefined) this.#countMark();
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
      const session = recent.keyAt(i);
      const chunk = this.#chunks.chunkFor(session, chunksFor(this.#generation.marks));
      const index = chunk.entries.indexOf(session);
      if (index < 0) chunk.entries.insert(-1 - index, session);
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
function findSeq(chunks: LinearHashSet, marks: number, session: Key64): number | undefined {
  if (marks === 0) return undefined;
  const { entries } = chunks.chunkFor(session, chunksFor(marks));
  const index = entries.indexOf(session);
  return index >= 0 ? entries.numberAt(index) : undefined;
}

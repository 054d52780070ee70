import type { Key64 } from '../../../counters/ids.js';
import type { WriteSet } from './write-set.js';
import { LinearHashSet, CHUNKS_MAX } from './linear-hash-set.js';
import { KEY64_BYTES, SortedKeyArray } from './sorted-key-array.js';
import type { MemberLocation } from './post-record.js';
import { chunkKeyPrefix } from './register-table.js';
import type { LmdbTable } from './lmdb-table.js';

/**
 * Up to this many members are in the post's own record, because most posts have few likes and need no chunk. Where there are chunks,
 * this many changes wait in the record, so that a commit writes one value for a post instead of two.
 */
const INLINE_MAX = 16;
/** Mean members a chunk: 768 bytes, so that LMDB's 4 KB pages fill well and a like rewrites little. */
const CHUNK_MEAN = 96;

/** The actors who have a toggle on. A set that shrinks keeps its chunks. */
export class MemberTable {
  constructor(
    private readonly table: LmdbTable,
    private readonly changes: WriteSet,
  ) {}

  has(post: string, metric: number, location: MemberLocation, actor: Key64): boolean {
    const differs = location.inline.size > 0 && location.inline.indexOf(actor) >= 0;
    if (location.chunks === 0) return differs;
    const { entries } = this.#chunksOf(post, metric, location).chunkFor(actor, location.chunks);
    return entries.indexOf(actor) >= 0 !== differs;
  }

  /** @param on the opposite of the state that the actor has */
  set(post: string, metric: number, location: MemberLocation, actor: Key64, on: boolean): void {
    location.size += on ? 1 : -1;
    toggle(location.inline, actor);
    if (location.inline.size > INLINE_MAX) this.#flushInline(post, metric, location);
  }

  list(post: string, metric: number, location: MemberLocation): Key64[] {
    if (location.chunks === 0) return keysOf(location.inline);
    const keys: Key64[] = [];
    for (const { entries } of this.#chunksOf(post, metric, location).readAll(location.chunks)) {
      for (const key of keysOf(entries)) if (location.inline.indexOf(key) < 0) keys.push(key);
    }
    for (const key of keysOf(location.inline)) if (this.has(post, metric, location, key)) keys.push(key);
    return keys;
  }

  /** The members of one chunk. Members of a set without chunks are in its first one; a member moves only to a chunk with a higher number. */
  listChunk(post: string, metric: number, location: MemberLocation, chunk: number): Key64[] {
    const { inline, chunks } = location;
    if (chunks === 0) return keysOf(inline);
    const set = this.#chunksOf(post, metric, location);
    const { entries } = set.getChunk(chunk);
    const joined = keysOf(inline).filter((key) => set.chunkFor(key, chunks) === set.getChunk(chunk));
    return [...keysOf(entries), ...joined].filter((key) => inline.indexOf(key) < 0 || entries.indexOf(key) < 0);
  }

  #split(post: string, metric: number, location: MemberLocation): void {
    if (location.chunks >= CHUNKS_MAX) return;
    this.#chunksOf(post, metric, location).split(location.chunks);
    location.chunks += 1;
  }

  /** Moves the members in the record to chunks. */
  #flushInline(post: string, metric: number, location: MemberLocation): void {
    const { inline } = location;
    const chunks = this.#chunksOf(post, metric, location);
    if (location.chunks === 0) {
      chunks.createFirst(inline);
      location.chunks = 1;
      location.inline = new SortedKeyArray(KEY64_BYTES);
      return;
    }
    for (let i = 0; i < inline.size; i++) {
      const actor = inline.keyAt(i);
      const chunk = chunks.chunkFor(actor, location.chunks);
      toggle(chunk.entries, actor);
      this.changes.add(chunk);
    }
    inline.clear();
    if (location.size > location.chunks * CHUNK_MEAN) this.#split(post, metric, location);
  }

  #chunksOf(post: string, metric: number, location: MemberLocation): LinearHashSet {
    location.loaded ??= new LinearHashSet(this.table, this.changes, chunkKeyPrefix(post, metric), KEY64_BYTES);
    return location.loaded;
  }
}

function keysOf(entries: SortedKeyArray): Key64[] {
  return Array.from({ length: entries.size }, (_, i) => entries.keyAt(i));
}

function toggle(entries: SortedKeyArray, actor: Key64): void {
  const index = entries.indexOf(actor);
  if (index < 0) entries.insert(-1 - index, actor);
  else entries.remove(index);
}

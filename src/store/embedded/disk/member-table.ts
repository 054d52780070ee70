import type { Key64 } from '../../../counters/ids.js';
import type { WriteSet } from './write-set.js';
import { Chunks, CHUNKS_MAX } from './chunks.js';
import { KEY64_BYTES, SortedKeyArray } from './sorted-key-array.js';
import type { MemberLocation } from './post-record.js';
import { chunkKeyPrefix } from './register-table.js';
import type { LmdbTable } from './lmdb-table.js';

/**
 * Up to this many members stand in the post's own record: most posts have few likes, and need no chunk. Where there are
 * chunks; many changes wait there for them, and a commit writes one value for a post instead of two.
 */
const INLINE_MAX = 16;
/** Mean members a chunk: 768 bytes, so that LMDB's 4 KB pages fill well and a like rewrites little. */
const CHUNK_MEAN = 96;
/** The actors of toggles. A set that shrinks keeps its chunks. */
export class MemberTable {
  constructor(
    private readonly table: LmdbTable,
    private readonly changes: WriteSet,
  ) {}

  has(post: string, metric: number, place: MemberLocation, actor: Key64): boolean {
    const differs = place.inline.size > 0 && place.inline.indexOf(actor) >= 0;
    if (place.chunks === 0) return differs;
    const { entries } = this.#chunksOf(post, metric, place).chunkFor(actor, place.chunks);
    return entries.indexOf(actor) >= 0 !== differs;
  }

  /** Puts in an actor who is out, or out one who is in. */
  set(post: string, metric: number, place: MemberLocation, actor: Key64, on: boolean): void {
    place.size += on ? 1 : -1;
    toggle(place.inline, actor);
    if (place.inline.size > INLINE_MAX) this.#settle(post, metric, place);
  }

  list(post: string, metric: number, place: MemberLocation): Key64[] {
    if (place.chunks === 0) return keysOf(place.inline);
    const keys: Key64[] = [];
    for (const { entries } of this.#chunksOf(post, metric, place).readAll(place.chunks)) {
      for (const key of keysOf(entries)) if (place.inline.indexOf(key) < 0) keys.push(key);
    }
    for (const key of keysOf(place.inline)) if (this.has(post, metric, place, key)) keys.push(key);
    return keys;
  }

  #split(post: string, metric: number, place: MemberLocation): void {
    if (place.chunks >= CHUNKS_MAX) return;
    this.#chunksOf(post, metric, place).split(place.chunks);
    place.chunks += 1;
  }

  /** Puts into chunks what stands in the record. */
  #settle(post: string, metric: number, place: MemberLocation): void {
    const { inline } = place;
    const chunks = this.#chunksOf(post, metric, place);
    if (place.chunks === 0) {
      chunks.createFirst(inline);
      place.chunks = 1;
      place.inline = new SortedKeyArray(KEY64_BYTES);
      return;
    }
    for (let i = 0; i < inline.size; i++) {
      const actor = inline.keyAt(i);
      const chunk = chunks.chunkFor(actor, place.chunks);
      toggle(chunk.entries, actor);
      this.changes.add(chunk);
    }
    inline.clear();
    if (place.size > place.chunks * CHUNK_MEAN) this.#split(post, metric, place);
  }

  #chunksOf(post: string, metric: number, place: MemberLocation): Chunks {
    place.loaded ??= new Chunks(this.table, this.changes, chunkKeyPrefix(post, metric), KEY64_BYTES);
    return place.loaded;
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

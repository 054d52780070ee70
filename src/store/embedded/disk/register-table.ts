import type { Key64 } from '../../../counters/ids.js';
import type { WriteSet } from './write-set.js';
import { Chunks, CHUNKS_MAX, parseChunkNumber } from './chunks.js';
import { NUMBERED_BYTES, SortedKeyArray } from './sorted-key-array.js';
import type { MemberLocation, RegisterLocation } from './post-record.js';
import type { LmdbTable } from './lmdb-table.js';

/** Up to this many registers stand in the post's own record, which a like writes anyway; then they go to chunks. */
const INLINE_MAX = 16;
/** From this many on those that are not needed any more are looked for. */
const CROWDED = 4;
/** Registers of a chunk from which on another is split off: some 800 bytes, so that a page of LMDB's holds several. */
const CHUNK_MAX = 64;

/** Says when actors had their last word on a toggle, where other regions may not know it yet. */
export class RegisterTable {
  constructor(
    private readonly table: LmdbTable,
    private readonly changes: WriteSet,
  ) {}

  /** The stamp of the actor's register, 0 if there is none. */
  get(post: string, metric: number, { registers }: MemberLocation, actor: Key64): number {
    if (registers === null) return 0;
    const { inline, chunks } = registers;
    const index = inline.indexOf(actor);
    if (index >= 0) return inline.numberAt(index);
    if (chunks === 0) return 0;
    const { entries } = this.#chunksOf(post, metric, registers).chunkFor(actor, chunks);
    const at = entries.indexOf(actor);
    return at < 0 ? 0 : entries.numberAt(at);
  }

  /** @param floor of the registers there are, those at or below it may be dropped. The post's record is to be written */
  set(post: string, metric: number, place: MemberLocation, actor: Key64, stamp: number, floor: number): void {
    const registers = (place.registers ??= { chunks: 0, inline: new SortedKeyArray(NUMBERED_BYTES), loaded: null });
    const { inline } = registers;
    put(inline, actor, stamp);
    if (inline.size >= CROWDED) drop(inline, floor);
    if (inline.size > INLINE_MAX) this.flushInline(post, metric, registers);
  }

  /** Puts into chunks what stands in the record. */
  flushInline(post: string, metric: number, registers: RegisterLocation): void {
    const { inline } = registers;
    const chunks = this.#chunksOf(post, metric, registers);
    registers.chunks ||= 1;
    for (let i = 0; i < inline.size; i++) {
      const actor = inline.keyAt(i);
      const chunk = chunks.chunkFor(actor, registers.chunks);
      put(chunk.entries, actor, inline.numberAt(i));
      this.changes.add(chunk);
      if (chunk.entries.size <= CHUNK_MAX || registers.chunks === CHUNKS_MAX) continue;
      chunks.split(registers.chunks);
      registers.chunks += 1;
    }
    inline.clear();
  }

  list(post: string, metric: number, { registers }: MemberLocation): { actor: Key64; stamp: number }[] {
    if (registers === null) return [];
    const { inline, chunks } = registers;
    const found = entriesOf(inline);
    if (chunks === 0) return found;
    for (const { entries } of this.#chunksOf(post, metric, registers).readAll(chunks)) {
      for (const entry of entriesOf(entries)) if (inline.indexOf(entry.actor) < 0) found.push(entry);
    }
    return found;
  }

  /** Takes out of one chunk the registers whose stamps are at or below the floor. @returns whether there were any */
  expireChunk(post: string, metric: number, registers: RegisterLocation, number: number, floor: number): boolean {
    const chunk = this.#chunksOf(post, metric, registers).getChunk(number);
    if (!drop(chunk.entries, floor)) return false;
    this.changes.add(chunk);
    if (registers.chunks === 1 && chunk.entries.size === 0) registers.chunks = 0;
    return true;
  }

  #chunksOf(post: string, metric: number, registers: RegisterLocation): Chunks {
    registers.loaded ??= new Chunks(this.table, this.changes, chunkKeyPrefix(post, metric), NUMBERED_BYTES);
    return registers.loaded;
  }
}

/** Takes out those whose stamps are at or below the floor. @returns whether there were any */
function drop(entries: SortedKeyArray, floor: number): boolean {
  const before = entries.size;
  for (let i = before - 1; i >= 0; i--) if (entries.numberAt(i) <= floor) entries.remove(i);
  return entries.size < before;
}

/** Of the keys of a toggle's chunks. */
export function chunkKeyPrefix(post: string, metric: number): string {
  return String.fromCharCode(metric) + post + '\0';
}

/** Of a chunk's key. */
export function parseChunkKey(key: string): { metric: number; post: string; chunk: number } {
  const end = key.indexOf('\0', 1);
  return { metric: key.charCodeAt(0), post: key.slice(1, end), chunk: parseChunkNumber(key.slice(end + 1)) };
}

function put(entries: SortedKeyArray, actor: Key64, stamp: number): void {
  const index = entries.indexOf(actor);
  if (index < 0) entries.insert(-1 - index, actor);
  entries.setNumber(index < 0 ? -1 - index : index, stamp);
}

function entriesOf(entries: SortedKeyArray): { actor: Key64; stamp: number }[] {
  return Array.from({ length: entries.size }, (_, i) => ({ actor: entries.keyAt(i), stamp: entries.numberAt(i) }));
}

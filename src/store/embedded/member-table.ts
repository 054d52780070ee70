import type { Key64 } from '../../counters/ids.js';
import type { Changes } from './changes.js';
import { Chunks, CHUNKS_MAX, numberOf } from './chunks.js';
import { KEY64_BYTES, NUMBERED_BYTES, PackedKeys } from './packed-keys.js';
import type { MemberPlace } from './post-record.js';
import type { Table } from './table.js';

/**
 * Up to this many members stand in the post's own record: most posts have few likes, and need no chunk. Where there are
 * chunks, so many changes wait there for them, and a commit writes one value for a post instead of two.
 */
const INLINE_MAX = 16;
/** Mean members a chunk: 768 bytes, so that LMDB's 4 KB pages fill well and a like rewrites little. */
const CHUNK_MEAN = 96;
/** Registers in a chunk, 4 KB, from which on chunks are split for their sake. */
const REGISTERS_MAX = 3 * CHUNK_MEAN;

/**
 * The actors of toggles, and the registers that say when each of them said so, where other regions may not know it yet. A set
 * that shrinks keeps its chunks.
 */
export class MemberTable {
  constructor(
    private readonly table: Table,
    private readonly registerTable: Table,
    private readonly changes: Changes,
    /** Without other regions there are none. */
    private readonly withRegisters: boolean,
  ) {}

  has(post: string, metric: number, place: MemberPlace, actor: Key64): boolean {
    const differs = place.inline.size > 0 && place.inline.indexOf(actor) >= 0;
    if (place.chunks === 0) return differs;
    const { entries } = this.#chunksOf(post, metric, place).of(actor, place.chunks);
    return entries.indexOf(actor) >= 0 !== differs;
  }

  /** Puts in an actor who is out, or out one who is in. */
  set(post: string, metric: number, place: MemberPlace, actor: Key64, on: boolean): void {
    place.size += on ? 1 : -1;
    toggle(place.inline, actor);
    if (place.inline.size > INLINE_MAX) this.#settle(post, metric, place);
  }

  all(post: string, metric: number, place: MemberPlace): Key64[] {
    if (place.chunks === 0) return keysOf(place.inline);
    const keys: Key64[] = [];
    for (const { entries } of this.#chunksOf(post, metric, place).all(place.chunks)) {
      for (const key of keysOf(entries)) if (place.inline.indexOf(key) < 0) keys.push(key);
    }
    for (const key of keysOf(place.inline)) if (this.has(post, metric, place, key)) keys.push(key);
    return keys;
  }

  /** The stamp of the actor's register, 0 if there is none. */
  register(post: string, metric: number, place: MemberPlace, actor: Key64): number {
    const { entries } = this.#registersOf(post, metric, place).of(actor, place.chunks || 1);
    const index = entries.indexOf(actor);
    return index < 0 ? 0 : entries.numberAt(index);
  }

  setRegister(post: string, metric: number, place: MemberPlace, actor: Key64, stamp: number): void {
    const chunk = this.#registersOf(post, metric, place).of(actor, place.chunks || 1);
    const index = chunk.entries.indexOf(actor);
    if (index < 0) chunk.entries.insert(-1 - index, actor);
    chunk.entries.setNumber(index < 0 ? -1 - index : index, stamp);
    this.changes.add(chunk);
    // Of actors who said no there are no members, by which chunks are split otherwise.
    if (chunk.entries.size > REGISTERS_MAX) this.#grow(post, metric, place);
  }

  registers(post: string, metric: number, place: MemberPlace): { actor: Key64; stamp: number }[] {
    if (!this.withRegisters) return [];
    const found: { actor: Key64; stamp: number }[] = [];
    for (const { entries } of this.#registersOf(post, metric, place).all(place.chunks)) {
      for (let i = 0; i < entries.size; i++) found.push({ actor: entries.keyAt(i), stamp: entries.numberAt(i) });
    }
    return found;
  }

  /** Takes out of one chunk the registers whose stamps are at or below the floor. */
  dropRegisters(post: string, metric: number, place: MemberPlace, number: number, floor: number): void {
    const chunk = this.#registersOf(post, metric, place).at(number);
    const { entries } = chunk;
    const before = entries.size;
    for (let i = entries.size - 1; i >= 0; i--) if (entries.numberAt(i) <= floor) entries.remove(i);
    if (entries.size < before) this.changes.add(chunk);
  }

  #registersOf(post: string, metric: number, place: MemberPlace): Chunks {
    place.registers ??= new Chunks(this.registerTable, this.changes, prefixOf(post, metric), NUMBERED_BYTES);
    return place.registers;
  }

  #grow(post: string, metric: number, place: MemberPlace): void {
    if (place.chunks === 0) this.#settle(post, metric, place);
    else this.#split(post, metric, place);
  }

  #split(post: string, metric: number, place: MemberPlace): void {
    if (place.chunks >= CHUNKS_MAX) return;
    this.#chunksOf(post, metric, place).split(place.chunks);
    if (this.withRegisters) this.#registersOf(post, metric, place).split(place.chunks);
    place.chunks += 1;
  }

  /** Puts into chunks what stands in the record. */
  #settle(post: string, metric: number, place: MemberPlace): void {
    const { inline } = place;
    const chunks = this.#chunksOf(post, metric, place);
    if (place.chunks === 0) {
      chunks.begin(inline);
      place.chunks = 1;
      place.inline = new PackedKeys(KEY64_BYTES);
      return;
    }
    for (let i = 0; i < inline.size; i++) {
      const actor = inline.keyAt(i);
      const chunk = chunks.of(actor, place.chunks);
      toggle(chunk.entries, actor);
      this.changes.add(chunk);
    }
    inline.clear();
    if (place.size > place.chunks * CHUNK_MEAN) this.#split(post, metric, place);
  }

  #chunksOf(post: string, metric: number, place: MemberPlace): Chunks {
    place.loaded ??= new Chunks(this.table, this.changes, prefixOf(post, metric), KEY64_BYTES);
    return place.loaded;
  }
}

/** Of the keys of a set's chunks. */
function prefixOf(post: string, metric: number): string {
  return String.fromCharCode(metric) + post + '\0';
}

/** After all keys of chunks. */
export const END = '\u00ff';

/** Of a chunk's key. */
export function registersKeyOf(key: string): { metric: number; post: string; chunk: number } {
  const end = key.indexOf('\0', 1);
  return { metric: key.charCodeAt(0), post: key.slice(1, end), chunk: numberOf(key.slice(end + 1)) };
}

function keysOf(entries: PackedKeys): Key64[] {
  return Array.from({ length: entries.size }, (_, i) => entries.keyAt(i));
}

function toggle(entries: PackedKeys, actor: Key64): void {
  const index = entries.indexOf(actor);
  if (index < 0) entries.insert(-1 - index, actor);
  else entries.remove(index);
}

import type { Key64 } from '../../../counters/ids.js';
import type { WriteSet } from './write-set.js';
import { LinearHashSet, CHUNKS_MAX, parseChunkNumber } from './linear-hash-set.js';
import { NUMBERED_BYTES, SortedKeyArray } from './sorted-key-array.js';
import type { MemberLocation, RegisterLocation } from './post-record.js';
import type { LmdbTable } from './lmdb-table.js';

/** Up to this many registers are in the post's own record, which a like writes anyway; then they go to chunks. */
const INLINE_MAX = 16;
/** From this many registers in the record on, stable ones are dropped. */
const EXPIRY_MIN = 4;
/** A chunk of more registers is split: some 800 bytes, so that a page of LMDB holds several chunks. */
const CHUNK_MAX = 64;

/** LWW registers: the stamp of an actor's last update of a toggle, where other regions may not have it yet. */
export class RegisterTable {
  constructor(
    private readonly table: LmdbTable,
    private readonly changes: WriteSet,
  ) {}

  /** @returns the stamp of the actor's register, 0 if there is none */
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

  /** The caller has to write the post's record. @param stableStamp registers at or below it may be dropped */
  set(post: string, metric: number, location: MemberLocation, actor: Key64, stamp: number, stableStamp: number): void {
    const registers = (location.registers ??= { chunks: 0, inline: new SortedKeyArray(NUMBERED_BYTES), loaded: null });
    const { inline } = registers;
    setStamp(inline, actor, stamp);
    if (inline.size >= EXPIRY_MIN) dropStable(inline, stableStamp);
    if (inline.size > INLINE_MAX) this.flushInline(post, metric, registers);
  }

  /** Moves the registers in the record to chunks. */
  flushInline(post: string, metric: number, registers: RegisterLocation): void {
    const { inline } = registers;
    const chunks = this.#chunksOf(post, metric, registers);
    registers.chunks ||= 1;
    for (let i = 0; i < inline.size; i++) {
      const actor = inline.keyAt(i);
      const chunk = chunks.chunkFor(actor, registers.chunks);
      setStamp(chunk.entries, actor, inline.numberAt(i));
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
    const found = listEntries(inline);
    if (chunks === 0) return found;
    for (const { entries } of this.#chunksOf(post, metric, registers).readAll(chunks)) {
      for (const entry of listEntries(entries)) if (inline.indexOf(entry.actor) < 0) found.push(entry);
    }
    return found;
  }

  /** Drops the stable registers of one chunk. @returns whether there were any */
  expireChunk(post: string, metric: number, registers: RegisterLocation, number: number, stableStamp: number): boolean {
    const chunk = this.#chunksOf(post, metric, registers).getChunk(number);
    if (!dropStable(chunk.entries, stableStamp)) return false;
    this.changes.add(chunk);
    if (registers.chunks === 1 && chunk.entries.size === 0) registers.chunks = 0;
    return true;
  }

  #chunksOf(post: string, metric: number, registers: RegisterLocation): LinearHashSet {
    registers.loaded ??= new LinearHashSet(this.table, this.changes, chunkKeyPrefix(post, metric), NUMBERED_BYTES);
    return registers.loaded;
  }
}

/** Drops the entries whose stamps are at or below the stable stamp. @returns whether there were any */
function dropStable(entries: SortedKeyArray, stableStamp: number): boolean {
  const before = entries.size;
  for (let i = before - 1; i >= 0; i--) if (entries.numberAt(i) <= stableStamp) entries.remove(i);
  return entries.size < before;
}

/** @returns the prefix of the keys of a toggle's chunks, of members as well as of registers */
export function chunkKeyPrefix(post: string, metric: number): string {
  return String.fromCharCode(metric) + post + '\0';
}

/** The inverse of chunkKeyPrefix, with the chunk's number behind it. */
export function parseChunkKey(key: string): { metric: number; post: string; chunk: number } {
  const end = key.indexOf('\0', 1);
  return { metric: key.charCodeAt(0), post: key.slice(1, end), chunk: parseChunkNumber(key.slice(end + 1)) };
}

function setStamp(entries: SortedKeyArray, actor: Key64, stamp: number): void {
  const index = entries.indexOf(actor);
  if (index < 0) entries.insert(-1 - index, actor);
  entries.setNumber(index < 0 ? -1 - index : index, stamp);
}

function listEntries(entries: SortedKeyArray): { actor: Key64; stamp: number }[] {
  return Array.from({ length: entries.size }, (_, i) => ({ actor: entries.keyAt(i), stamp: entries.numberAt(i) }));
}

import type { MetricState, PostState } from '../../../counters/bucket.js';
import { EMPTY_COUNTER, type CounterEntry, type RegionIncarnation } from '../../../counters/pn-counter.js';
import { ByteReader, type ByteWriter } from './record-bytes.js';
import { type LinearHashSet, CHUNKS_MAX } from './linear-hash-set.js';
import { KEY64_BYTES, NUMBERED_BYTES, SortedKeyArray } from './sorted-key-array.js';

/**
 * A post, and its format on disk. All numbers are varints:
 *
 *     v  updatedAtMs  metric*                       metrics by index; trailing ones that are empty are left out
 *     metric:  members  chunks  entries  entry*  keys  key*  registers     keys: their number; only where there are chunks
 *     entry:   incarnation  p  n                    incarnation: index into the incarnations of the data directory
 *     key:     8 bytes                              members, sorted: all of them without chunks, else those
 *                                                   whose state is the opposite of the one in the chunks
 *     registers:  chunks  number  (key  stamp)*     only where `entries` is 64 more than there are; a stamp: 7 bytes
 *
 * So likes and views with one region and no members take about 20 bytes.
 */
export interface PostRecord {
  state: PostState;
  /** By metric index: where the toggle's members and registers are. */
  readonly members: MemberLocation[];
}

export interface MemberLocation {
  /** The number of members. */
  size: number;
  /** 0: all members are in `inline`. Otherwise they are in this many chunks of the members table, … */
  chunks: number;
  /** … and this lists the actors who joined or left since, whose state is the opposite of the one in the chunks. */
  inline: SortedKeyArray;
  /** Gives access to the chunks once one was needed. */
  loaded: LinearHashSet | null;
  /** LWW registers of the toggle, with other regions; `null`: there are none. */
  registers: RegisterLocation | null;
}

export interface RegisterLocation {
  /** Registers are in this many chunks of the registers table, … */
  chunks: number;
  /** … and the newest are here. */
  readonly inline: SortedKeyArray;
  loaded: LinearHashSet | null;
}

/** Added to the number of entries where there are registers: more than there are regions. */
const HAS_REGISTERS = 64;

/** @returns the location of a metric's members, added to the record if it has none yet */
export function locateMembers(record: PostRecord, metric: number): MemberLocation {
  while (record.members.length <= metric) record.members.push(newLocation(0, 0, new SortedKeyArray(KEY64_BYTES)));
  return record.members[metric]!;
}

const NOTHING: MetricState = { members: 0, counter: EMPTY_COUNTER };

/** Writes the record as the writer's next value. */
export function encodePost(
  { state, members }: PostRecord,
  incarnations: readonly RegionIncarnation[],
  writer: ByteWriter,
): ByteWriter {
  writer.varint(state.v).varint(state.updatedAtMs);
  // A toggle that nobody has on may have registers.
  for (let index = 0; index < Math.max(state.metrics.length, members.length); index++) {
    const metric = state.metrics[index] ?? NOTHING;
    const location = members[index];
    const registers = findRegisters(location);
    writer
      .varint(metric.members)
      .varint(location === undefined ? 0 : location.chunks)
      .varint(metric.counter.length + (registers === null ? 0 : HAS_REGISTERS));
    for (const { incarnation, p, n } of metric.counter) {
      const incarnationIndex = incarnations.indexOf(incarnation);
      // Written as -1 it would make the whole record unreadable.
      if (incarnationIndex < 0)
        throw new RangeError('a count belongs to an incarnation that the data directory does not list');
      writer.varint(incarnationIndex).varint(p).varint(n);
    }
    if (location === undefined) continue;
    if (location.chunks > 0) writer.varint(location.inline.size);
    writer.raw(location.inline.bytes, location.inline.byteLength);
    if (registers === null) continue;
    const { chunks, inline } = registers;
    writer.varint(chunks).varint(inline.size).raw(inline.bytes, inline.byteLength);
  }
  return writer;
}

function findRegisters(location: MemberLocation | undefined): RegisterLocation | null {
  const registers = location?.registers ?? null;
  return registers === null || (registers.chunks === 0 && registers.inline.size === 0) ? null : registers;
}

/** @throws RangeError if the bytes are no such record */
export function decodePost(bytes: Uint8Array, incarnations: readonly RegionIncarnation[]): PostRecord {
  const reader = new ByteReader(bytes);
  const record: PostRecord = { state: { v: reader.varint(), updatedAtMs: reader.varint(), metrics: [] }, members: [] };
  while (!reader.isAtEnd) {
    const members = reader.varint();
    const chunks = readChunks(reader);
    const counter: CounterEntry[] = [];
    const entries = reader.varint();
    for (let left = entries % HAS_REGISTERS; left > 0; left--) {
      const incarnation = incarnations[reader.varint()];
      if (incarnation === undefined) {
        throw new RangeError('a record names an incarnation that the data directory does not list');
      }
      counter.push({ incarnation, p: reader.varint(), n: reader.varint() });
    }
    const keys = chunks === 0 ? members : reader.varint();
    const inline = keys > 0 ? reader.raw(keys * KEY64_BYTES) : undefined;
    record.state.metrics.push({ members, counter });
    const location = newLocation(members, chunks, new SortedKeyArray(KEY64_BYTES, inline));
    if (entries >= HAS_REGISTERS) location.registers = readRegisters(reader);
    record.members.push(location);
  }
  return record;
}

function readRegisters(reader: ByteReader): RegisterLocation {
  const chunks = readChunks(reader);
  const bytes = reader.raw(reader.varint() * NUMBERED_BYTES);
  return { chunks, inline: new SortedKeyArray(NUMBERED_BYTES, bytes), loaded: null };
}

/** Limits the number, because a reader of all members reads each of the chunks. */
function readChunks(reader: ByteReader): number {
  const chunks = reader.varint();
  if (chunks > CHUNKS_MAX) throw new RangeError(`a record has ${chunks} chunks; at most ${CHUNKS_MAX} can be`);
  return chunks;
}

function newLocation(size: number, chunks: number, inline: SortedKeyArray): MemberLocation {
  return { size, chunks, inline, loaded: null, registers: null };
}

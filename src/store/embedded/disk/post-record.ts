import type { MetricState, PostState } from '../../../counters/bucket.js';
import { EMPTY_COUNTER, type CounterEntry, type RegionIncarnation } from '../../../counters/pn-counter.js';
import { ByteReader, type ByteWriter } from './record-bytes.js';
import { type Chunks, CHUNKS_MAX } from './chunks.js';
import { KEY64_BYTES, NUMBERED_BYTES, SortedKeyArray } from './sorted-key-array.js';

/**
 * A post as it lies on disk. All numbers are varints:
 *
 *     v  updatedAtMs  metric*                       metrics by index; trailing ones that are empty are left out
 *     metric:  members  chunks  entries  entry*  keys  key*  registers     keys: how many; only where there are chunks
 *     entry:   replica  p  n                        replica: index into the data directory's table of replicas
 *     key:     8 bytes                              members, sorted: all of them without chunks, else those
 *                                                   of whom the chunks have the opposite
 *     registers:  chunks  number  (key  stamp)*     only where `entries` is 64 more than there are; a stamp: 7 bytes
 *
 * So likes and views with one region and no members take about 20 bytes.
 */
export interface PostRecord {
  state: PostState;
  /** By metric index: where the toggle's members are. */
  readonly members: MemberLocation[];
}

export interface MemberLocation {
  /** How many members there are. */
  size: number;
  /** 0: they stand in `inline`. Else in this many chunks of the members table, … */
  chunks: number;
  /** … and this has those who came or left since, of whom the chunks have the opposite. */
  inline: SortedKeyArray;
  /** The chunks that are in memory. */
  loaded: Chunks | null;
  /** Last words on the toggle, with other regions; `null`: there are none. */
  registers: RegisterLocation | null;
}

export interface RegisterLocation {
  /** In this many chunks of the registers table, … */
  chunks: number;
  /** … and here those that were said last. */
  readonly inline: SortedKeyArray;
  loaded: Chunks | null;
}

/** More entries than there are regions. */
const HAS_REGISTERS = 64;

/** The place of a metric's members, added to the record if it has none yet. */
export function locateMembers(record: PostRecord, metric: number): MemberLocation {
  while (record.members.length <= metric) record.members.push(placeOf(0, 0, new SortedKeyArray(KEY64_BYTES)));
  return record.members[metric]!;
}

const NOTHING: MetricState = { members: 0, counter: EMPTY_COUNTER };

/** Writes the record after what the writer has. */
export function encodePost(
  { state, members }: PostRecord,
  replicas: readonly RegionIncarnation[],
  writer: ByteWriter,
): ByteWriter {
  writer.varint(state.v).varint(state.updatedAtMs);
  // A toggle that nobody has on may have registers.
  for (let index = 0; index < Math.max(state.metrics.length, members.length); index++) {
    const metric = state.metrics[index] ?? NOTHING;
    const place = members[index];
    const registers = registersIn(place);
    writer
      .varint(metric.members)
      .varint(place === undefined ? 0 : place.chunks)
      .varint(metric.counter.length + (registers === null ? 0 : HAS_REGISTERS));
    for (const { incarnation: replica, p, n } of metric.counter)
      writer.varint(replicas.indexOf(replica)).varint(p).varint(n);
    if (place === undefined) continue;
    if (place.chunks > 0) writer.varint(place.inline.size);
    writer.raw(place.inline.bytes, place.inline.byteLength);
    if (registers === null) continue;
    const { chunks, inline } = registers;
    writer.varint(chunks).varint(inline.size).raw(inline.bytes, inline.byteLength);
  }
  return writer;
}

function registersIn(place: MemberLocation | undefined): RegisterLocation | null {
  const registers = place?.registers ?? null;
  return registers === null || (registers.chunks === 0 && registers.inline.size === 0) ? null : registers;
}

/** @throws RangeError where the bytes are no such thing */
export function decodePost(bytes: Uint8Array, replicas: readonly RegionIncarnation[]): PostRecord {
  const reader = new ByteReader(bytes);
  const record: PostRecord = { state: { v: reader.varint(), updatedAtMs: reader.varint(), metrics: [] }, members: [] };
  while (!reader.isAtEnd) {
    const members = reader.varint();
    const chunks = readChunks(reader);
    const counter: CounterEntry[] = [];
    const entries = reader.varint();
    for (let left = entries % HAS_REGISTERS; left > 0; left--) {
      const replica = replicas[reader.varint()];
      if (replica === undefined) throw new RangeError('a record names a replica that the data directory does not know');
      counter.push({ incarnation: replica, p: reader.varint(), n: reader.varint() });
    }
    const keys = chunks === 0 ? members : reader.varint();
    const inline = keys > 0 ? reader.raw(keys * KEY64_BYTES) : undefined;
    record.state.metrics.push({ members, counter });
    const place = placeOf(members, chunks, new SortedKeyArray(KEY64_BYTES, inline));
    if (entries >= HAS_REGISTERS) place.registers = readRegisters(reader);
    record.members.push(place);
  }
  return record;
}

function readRegisters(reader: ByteReader): RegisterLocation {
  const chunks = readChunks(reader);
  const bytes = reader.raw(reader.varint() * NUMBERED_BYTES);
  return { chunks, inline: new SortedKeyArray(NUMBERED_BYTES, bytes), loaded: null };
}

/** Who looks at all members looks for each of the chunks. */
function readChunks(reader: ByteReader): number {
  const chunks = reader.varint();
  if (chunks > CHUNKS_MAX) throw new RangeError(`a record has ${chunks} chunks; at most ${CHUNKS_MAX} can be`);
  return chunks;
}

function placeOf(size: number, chunks: number, inline: SortedKeyArray): MemberLocation {
  return { size, chunks, inline, loaded: null, registers: null };
}

import { STORED_POST_PATTERN } from '../../counters/ids.js';
import { METRICS_MAX } from '../../counters/metrics.js';
import { INCARNATIONS_MAX, type RegionIncarnation } from '../../counters/pn-counter.js';
import type {
  Delta,
  EntryDelta,
  MembersDelta,
  PostDelta,
  Source,
  ToggleRegister,
} from '../../counters/replication/delta.js';
import { REGION_PATTERN } from '../../config/peer-urls.js';
import { readHomes, writeHomes } from './home-codec.js';
import { readAge, TIME_MAX, WireError, WireReader, WireWriter, writeAge } from './wire-format.js';

/**
 * Deltas as bytes. Numbers are LEB128 unless a width is given. A list begins with its length.
 *
 *     message        format (4) · latest stamp · latest time · incarnation[] · source[] · delta[]
 *       incarnation    region (length, ASCII) · epoch · nonce
 *       source         index of an incarnation · startedAtStamp (age) · predecessors: (epoch · nonce)[]
 *       delta          kind + 4 if there is a `fullSyncReceiver` (a byte) · bucket · index of a source
 *                      · after, upTo, ackedUpTo, stableStamp (ages) · fullSyncReceiver: epoch, nonce · post[]
 *       post           id (length, ASCII) · updated at (age)
 *                      · 8 x number of entries + 4 if homes + 2 if members + 1 if registers follow
 *                      · entry … · register[] · members[] · homes: see home-codec.ts
 *       entry          16 x index of an incarnation + metric · P · N
 *       register       16 x on + metric (a byte) · actor (8 bytes) · stamp (age)
 *       members        metric (a byte) · subset · subsets · actor[] (8 bytes each)
 *
 * An age is relative to the latest stamp or time: see `writeAge`.
 */
const KINDS = ['changes', 'full-sync', 'full-sync-end', 'repair'] as const;
const HAS_RECEIVER = 4;
const HAS_REGISTERS = 1;
const HAS_MEMBERS = 2;
const HAS_HOMES = 4;
const ENTRY = 8;

/** Least length of an item of each list. A list that is announced longer than the message is rejected before it is read. */
const INCARNATION_BYTES = 4;
const SOURCE_BYTES = 3;
const PREDECESSOR_BYTES = 2;
const DELTA_BYTES = 8;
const POST_BYTES = 4;
const ENTRY_BYTES = 3;
const REGISTER_BYTES = 10;
const MEMBERS_BYTES = 4;
const KEY_BYTES = 8;

/** The tables that all deltas of a message refer to. */
interface Header {
  readonly latestStamp: number;
  readonly latestMs: number;
  readonly incarnations: readonly RegionIncarnation[];
  readonly sources: readonly Source[];
}

export function encodeDeltas(deltas: readonly Delta[]): Buffer {
  const writer = new WireWriter();
  const tables = new MessageTables(deltas);
  const latest = findLatest(deltas);
  writer.varint(latest.latestStamp);
  writer.varint(latest.latestMs);
  writer.varint(tables.incarnations.length);
  for (const { region, epoch, nonce } of tables.incarnations) {
    writer.text(region);
    writer.incarnation({ epoch, nonce });
  }
  writer.varint(tables.sources.length);
  for (const { source, startedAtStamp, predecessors } of tables.sources) {
    writer.varint(tables.indexOfIncarnation(source));
    writeAge(writer, startedAtStamp, latest.latestStamp);
    writer.varint(predecessors.length);
    for (const predecessor of predecessors) writer.incarnation(predecessor);
  }
  writer.varint(deltas.length);
  for (const delta of deltas) writeDelta(writer, delta, latest, tables);
  return writer.message();
}

/** @throws WireError if `encodeDeltas` cannot have written the bytes */
export function decodeDeltas(bytes: Uint8Array): Delta[] {
  const reader = new WireReader(bytes);
  const latestStamp = reader.varint('latest stamp');
  const latestMs = reader.varint('latest time', TIME_MAX);
  const incarnations = reader.list('incarnations', INCARNATION_BYTES, (): RegionIncarnation => {
    return { region: reader.text('region', REGION_PATTERN), ...reader.incarnation('incarnation') };
  });
  // INCARNATIONS_MAX of other regions, and the source itself.
  const most = INCARNATIONS_MAX + 1;
  if (incarnations.length > most) throw new WireError(`incarnations must be at most ${most}`);
  const sources = reader.list('sources', SOURCE_BYTES, () => readSource(reader, incarnations, latestStamp));
  const header = { latestStamp, latestMs, incarnations, sources };
  const deltas = reader.list('deltas', DELTA_BYTES, () => readDelta(reader, header));
  reader.end();
  return deltas;
}

type Latest = Pick<Header, 'latestStamp' | 'latestMs'>;

function findLatest(deltas: readonly Delta[]): Latest {
  let latestStamp = 0;
  let latestMs = 0;
  for (const { startedAtStamp, after, upTo, ackedUpTo, stableStamp, posts } of deltas) {
    latestStamp = Math.max(latestStamp, startedAtStamp, after, upTo, ackedUpTo, stableStamp);
    for (const { updatedAtMs, registers, homes = [] } of posts) {
      latestMs = Math.max(latestMs, updatedAtMs);
      for (const { stamp } of registers) latestStamp = Math.max(latestStamp, stamp);
      for (const { confirmations } of homes)
        for (const { stamp } of confirmations) latestStamp = Math.max(latestStamp, stamp);
    }
  }
  return { latestStamp, latestMs };
}

/** The incarnations and sources that deltas refer to, each once. */
class MessageTables {
  readonly incarnations: RegionIncarnation[] = [];
  readonly sources: Source[] = [];
  readonly #indexes = new Map<string, number>();
  /** Saves a lookup, because successive entries mostly have the same incarnation. */
  #last: { incarnation: RegionIncarnation; index: number } | null = null;

  constructor(deltas: readonly Delta[]) {
    for (const delta of deltas) {
      this.indexOfSource(delta);
      for (const { entries } of delta.posts) for (const entry of entries) this.indexOfIncarnation(entry.incarnation);
    }
  }

  indexOfIncarnation(incarnation: RegionIncarnation): number {
    if (this.#last?.incarnation === incarnation) return this.#last.index;
    const { region, epoch, nonce } = incarnation;
    const index = this.#indexOf(this.incarnations, incarnation, `${region} ${epoch} ${nonce}`);
    this.#last = { incarnation, index };
    return index;
  }

  indexOfSource({ source, startedAtStamp, predecessors }: Source): number {
    const names = predecessors.map(({ epoch, nonce }) => `${epoch}.${nonce}`);
    const key = [this.indexOfIncarnation(source), startedAtStamp, ...names].join(' ');
    return this.#indexOf(this.sources, { source, startedAtStamp, predecessors }, key);
  }

  #indexOf<T>(list: T[], one: T, key: string): number {
    let index = this.#indexes.get(key);
    if (index === undefined) {
      index = list.push(one) - 1;
      this.#indexes.set(key, index);
    }
    return index;
  }
}

function readSource(reader: WireReader, incarnations: readonly RegionIncarnation[], latestStamp: number): Source {
  const source = incarnations[reader.varint('incarnation of a source', incarnations.length - 1)]!;
  const startedAtStamp = readAge(reader, 'startedAtStamp', latestStamp);
  const predecessors = reader.list('predecessors', PREDECESSOR_BYTES, () => reader.incarnation('predecessor'));
  return { source, startedAtStamp, predecessors };
}

function writeDelta(writer: WireWriter, delta: Delta, latest: Latest, tables: MessageTables): void {
  const { kind, bucket, after, upTo, ackedUpTo, stableStamp, fullSyncReceiver, posts } = delta;
  writer.byte(KINDS.indexOf(kind) | (fullSyncReceiver === null ? 0 : HAS_RECEIVER));
  writer.varint(bucket);
  writer.varint(tables.indexOfSource(delta));
  for (const stamp of [after, upTo, ackedUpTo, stableStamp]) writeAge(writer, stamp, latest.latestStamp);
  if (fullSyncReceiver !== null) writer.incarnation(fullSyncReceiver);
  writer.varint(posts.length);
  for (const post of posts) writePost(writer, post, latest, tables);
}

function readDelta(reader: WireReader, header: Header): Delta {
  const { latestStamp, sources } = header;
  const head = reader.byte('kind', HAS_RECEIVER | (KINDS.length - 1));
  const kind = KINDS[head & ~HAS_RECEIVER]!;
  const bucket = reader.varint('bucket');
  const source = sources[reader.varint('source', sources.length - 1)]!;
  const after = readAge(reader, 'after', latestStamp);
  const upTo = readAge(reader, 'upTo', latestStamp);
  const ackedUpTo = readAge(reader, 'ackedUpTo', latestStamp);
  const stableStamp = readAge(reader, 'stableStamp', latestStamp);
  const fullSyncReceiver = (head & HAS_RECEIVER) === 0 ? null : reader.incarnation('fullSyncReceiver');
  const posts = reader.list('posts', POST_BYTES, () => readPost(reader, header));
  return { kind, bucket, ...source, after, upTo, ackedUpTo, stableStamp, posts, fullSyncReceiver };
}

function writePost(writer: WireWriter, delta: PostDelta, latest: Latest, tables: MessageTables): void {
  const { post, updatedAtMs, entries, registers, members, homes } = delta;
  const hasHomes = homes !== undefined && homes.length > 0;
  writer.text(post);
  writeAge(writer, updatedAtMs, latest.latestMs);
  const lists =
    (registers.length > 0 ? HAS_REGISTERS : 0) + (members.length > 0 ? HAS_MEMBERS : 0) + (hasHomes ? HAS_HOMES : 0);
  writer.varint(entries.length * ENTRY + lists);
  for (const { metric, incarnation, p, n } of entries) {
    writer.varint(tables.indexOfIncarnation(incarnation) * METRICS_MAX + metric);
    writer.varint(p);
    writer.varint(n);
  }
  if (registers.length > 0) writer.varint(registers.length);
  for (const { metric, actor, stamp, on } of registers) {
    writer.byte(metric + (on ? METRICS_MAX : 0));
    writer.key(actor);
    writeAge(writer, stamp, latest.latestStamp);
  }
  if (members.length > 0) writer.varint(members.length);
  for (const { metric, subset, subsets, actors } of members) {
    writer.byte(metric);
    writer.varint(subset);
    writer.varint(subsets);
    writer.varint(actors.length);
    for (const actor of actors) writer.key(actor);
  }
  if (hasHomes) writeHomes(writer, homes, latest.latestStamp);
}

function readPost(reader: WireReader, { latestStamp, latestMs, incarnations }: Header): PostDelta {
  const post = reader.text('post', STORED_POST_PATTERN);
  const updatedAtMs = readAge(reader, 'updated at', latestMs);
  const head = reader.varint('entries');
  const count = Math.floor(head / ENTRY);
  const entries = reader.list('entries', ENTRY_BYTES, () => readEntry(reader, incarnations), count);
  const hasRegisters = (head & HAS_REGISTERS) > 0;
  const registers = hasRegisters
    ? reader.list('registers', REGISTER_BYTES, () => readRegister(reader, latestStamp))
    : [];
  const hasMembers = (head & HAS_MEMBERS) > 0;
  const members = hasMembers ? reader.list('members', MEMBERS_BYTES, () => readMembers(reader)) : [];
  if ((head & HAS_HOMES) === 0) return { post, updatedAtMs, entries, registers, members };
  return { post, updatedAtMs, entries, registers, members, homes: readHomes(reader, latestStamp) };
}

function readEntry(reader: WireReader, incarnations: readonly RegionIncarnation[]): EntryDelta {
  const head = reader.varint('incarnation and metric of an entry', incarnations.length * METRICS_MAX - 1);
  const incarnation = incarnations[Math.floor(head / METRICS_MAX)]!;
  return { metric: head % METRICS_MAX, incarnation, p: reader.varint('p'), n: reader.varint('n') };
}

function readRegister(reader: WireReader, latestStamp: number): ToggleRegister {
  const head = reader.byte('metric of a register', 2 * METRICS_MAX - 1);
  const actor = reader.key('actor');
  const stamp = readAge(reader, 'stamp', latestStamp);
  return { metric: head % METRICS_MAX, actor, stamp, on: head >= METRICS_MAX };
}

function readMembers(reader: WireReader): MembersDelta {
  const metric = reader.byte('metric of members', METRICS_MAX - 1);
  const subset = reader.varint('subset');
  const subsets = reader.varint('subsets');
  if (subset >= subsets) throw new WireError('subset must be below subsets');
  return { metric, subset, subsets, actors: reader.list('actors', KEY_BYTES, () => reader.key('actor')) };
}

import { STORED_POST_PATTERN } from '../../counters/ids.js';
import { METRICS_MAX } from '../../counters/metrics.js';
import { INCARNATIONS_MAX, type RegionIncarnation } from '../../counters/pn-counter.js';
import type {
  EntryDelta,
  MembersDelta,
  PostDelta,
  ToggleRegister,
  Delta,
  Source,
} from '../../counters/replication/delta.js';
import { REGION_PATTERN } from '../../config/peer-urls.js';
import { WireError, WireReader, WireWriter } from './wire-format.js';

/**
 * Shipments as bytes. Numbers are LEB128 where nothing else is said; lists begin with their length.
 *
 *     message        version (2) · latest stamp · latest time · life[] · source[] · shipment[]
 *       life           region (length, ASCII) · epoch · nonce
 *       source         index of a life · born (age) · lives that it goes on from: (epoch · nonce)[]
 *       shipment       kind and whether `fullSyncReceiver` (a byte) · bucket · index of a source · after, upTo, confirmed, floor (ages)
 *                      · shown: epoch, nonce · post[]
 *       post           id (length, ASCII) · updated at (age) · 4 x number of entries + 2 if members + 1 if registers follow
 *                      · entry … · register[] · members[]
 *       entry          16 x index of a life + metric · P · N
 *       register       16 x on + metric (a byte) · actor (8 bytes) · stamp (age)
 *       members        metric (a byte) · part · parts · actor[] (8 bytes each)
 *
 * An age is how much earlier something is than the latest, plus 1; 0 stands for 0, which is never.
 */
const KINDS = ['changes', 'full-sync', 'full-sync-end', 'repair'] as const;
const SHOWN = 4;
const REGISTERS = 1;
const MEMBERS = 2;
const ENTRY = 4;

/** What a list's items have at least, in bytes: their count is held against what has come. */
const LIFE_BYTES = 4;
const SOURCE_BYTES = 3;
const GOES_ON_BYTES = 2;
const SHIPMENT_BYTES = 8;
const POST_BYTES = 4;
const ENTRY_BYTES = 3;
const REGISTER_BYTES = 10;
const MEMBERS_BYTES = 4;
const KEY_BYTES = 8;

/** The last time that a Date can hold. */
const TIME_MAX = 8.64e15;

/** What is said once for all shipments of a message. */
interface Header {
  readonly latestStamp: number;
  readonly latestMs: number;
  readonly lives: readonly RegionIncarnation[];
  readonly sources: readonly Source[];
}

export function encodeDeltas(shipments: readonly Delta[]): Buffer {
  const writer = new WireWriter();
  const tables = new MessageTables(shipments);
  const latest = findLatest(shipments);
  writer.varint(latest.latestStamp);
  writer.varint(latest.latestMs);
  writer.varint(tables.incarnations.length);
  for (const { region, epoch, nonce } of tables.incarnations) {
    writer.text(region);
    writer.incarnation({ epoch, nonce });
  }
  writer.varint(tables.sources.length);
  for (const { source, startedAtStamp: born, predecessors: goesOn } of tables.sources) {
    writer.varint(tables.indexOfIncarnation(source));
    writeAge(writer, born, latest.latestStamp);
    writer.varint(goesOn.length);
    for (const life of goesOn) writer.incarnation(life);
  }
  writer.varint(shipments.length);
  for (const shipment of shipments) writeDelta(writer, shipment, latest, tables);
  return writer.message();
}

/** @throws WireError for anything else than what `encodeDeltas` makes */
export function decodeDeltas(bytes: Uint8Array): Delta[] {
  const reader = new WireReader(bytes);
  const latestStamp = reader.varint('latest stamp');
  const latestMs = reader.varint('latest time', TIME_MAX);
  const lives = reader.list('lives', LIFE_BYTES, (): RegionIncarnation => {
    return { region: reader.text('region', REGION_PATTERN), ...reader.incarnation('life') };
  });
  // Besides them the one that ships.
  if (lives.length > INCARNATIONS_MAX + 1) throw new WireError(`lives must be at most ${INCARNATIONS_MAX + 1}`);
  const sources = reader.list('sources', SOURCE_BYTES, (): Source => {
    const source = lives[reader.varint('life of a source', lives.length - 1)]!;
    const born = readAge(reader, 'born', latestStamp);
    return {
      source,
      startedAtStamp: born,
      predecessors: reader.list('goes on', GOES_ON_BYTES, () => reader.incarnation('goes on')),
    };
  });
  const heading = { latestStamp, latestMs, lives, sources };
  const shipments = reader.list('shipments', SHIPMENT_BYTES, () => readDelta(reader, heading));
  reader.end();
  return shipments;
}

type Latest = Pick<Header, 'latestStamp' | 'latestMs'>;

function findLatest(shipments: readonly Delta[]): Latest {
  let latestStamp = 0;
  let latestMs = 0;
  for (const { startedAtStamp: born, after, upTo, ackedUpTo: confirmed, stableStamp: floor, posts } of shipments) {
    latestStamp = Math.max(latestStamp, born, after, upTo, confirmed, floor);
    for (const { updatedAtMs, registers } of posts) {
      latestMs = Math.max(latestMs, updatedAtMs);
      for (const { stamp } of registers) latestStamp = Math.max(latestStamp, stamp);
    }
  }
  return { latestStamp, latestMs };
}

/** The lives and sources that shipments name, each once. */
class MessageTables {
  readonly incarnations: RegionIncarnation[] = [];
  readonly sources: Source[] = [];
  readonly #indexes = new Map<string, number>();
  /** Most that are named one after the other are the same. */
  #last: { replica: RegionIncarnation; index: number } | null = null;

  constructor(shipments: readonly Delta[]) {
    for (const shipment of shipments) {
      this.indexOfSource(shipment);
      for (const { entries } of shipment.posts)
        for (const { incarnation: replica } of entries) this.indexOfIncarnation(replica);
    }
  }

  indexOfIncarnation(replica: RegionIncarnation): number {
    if (this.#last?.replica === replica) return this.#last.index;
    const index = this.#indexOf(this.incarnations, replica, `${replica.region} ${replica.epoch} ${replica.nonce}`);
    this.#last = { replica, index };
    return index;
  }

  indexOfSource({ source, startedAtStamp: born, predecessors: goesOn }: Source): number {
    const key = [this.indexOfIncarnation(source), born, ...goesOn.map(({ epoch, nonce }) => `${epoch}.${nonce}`)].join(
      ' ',
    );
    return this.#indexOf(this.sources, { source, startedAtStamp: born, predecessors: goesOn }, key);
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

function writeDelta(writer: WireWriter, shipment: Delta, latest: Latest, tables: MessageTables): void {
  const {
    kind,
    bucket,
    after,
    upTo,
    ackedUpTo: confirmed,
    stableStamp: floor,
    fullSyncReceiver: shown,
    posts,
  } = shipment;
  writer.byte(KINDS.indexOf(kind) | (shown === null ? 0 : SHOWN));
  writer.varint(bucket);
  writer.varint(tables.indexOfSource(shipment));
  for (const stamp of [after, upTo, confirmed, floor]) writeAge(writer, stamp, latest.latestStamp);
  if (shown !== null) writer.incarnation(shown);
  writer.varint(posts.length);
  for (const post of posts) writePost(writer, post, latest, tables);
}

function readDelta(reader: WireReader, heading: Header): Delta {
  const { latestStamp, sources } = heading;
  const head = reader.byte('kind', SHOWN | (KINDS.length - 1));
  const kind = KINDS[head & ~SHOWN]!;
  const bucket = reader.varint('bucket');
  const { source, startedAtStamp: born, predecessors: goesOn } = sources[reader.varint('source', sources.length - 1)]!;
  const after = readAge(reader, 'after', latestStamp);
  const upTo = readAge(reader, 'up to', latestStamp);
  const confirmed = readAge(reader, 'confirmed', latestStamp);
  const floor = readAge(reader, 'floor', latestStamp);
  const shown = (head & SHOWN) === 0 ? null : reader.incarnation('shown');
  const posts = reader.list('posts', POST_BYTES, () => readPost(reader, heading));
  return {
    kind,
    bucket,
    source,
    startedAtStamp: born,
    predecessors: goesOn,
    after,
    upTo,
    ackedUpTo: confirmed,
    stableStamp: floor,
    posts,
    fullSyncReceiver: shown,
  };
}

function writePost(
  writer: WireWriter,
  shipment: PostDelta,
  { latestStamp, latestMs }: Latest,
  tables: MessageTables,
): void {
  const { post, updatedAtMs, entries, registers, members } = shipment;
  writer.text(post);
  writeAge(writer, updatedAtMs, latestMs);
  const has = (registers.length > 0 ? REGISTERS : 0) + (members.length > 0 ? MEMBERS : 0);
  writer.varint(entries.length * ENTRY + has);
  for (const { metric, incarnation: replica, p, n } of entries) {
    writer.varint(tables.indexOfIncarnation(replica) * METRICS_MAX + metric);
    writer.varint(p);
    writer.varint(n);
  }
  if (registers.length > 0) writer.varint(registers.length);
  for (const { metric, actor, stamp, on } of registers) {
    writer.byte(metric + (on ? METRICS_MAX : 0));
    writer.key(actor);
    writeAge(writer, stamp, latestStamp);
  }
  if (members.length > 0) writer.varint(members.length);
  for (const { metric, subset: part, subsets: parts, actors } of members) {
    writer.byte(metric);
    writer.varint(part);
    writer.varint(parts);
    writer.varint(actors.length);
    for (const actor of actors) writer.key(actor);
  }
}

function readPost(reader: WireReader, { latestStamp, latestMs, lives }: Header): PostDelta {
  const post = reader.text('post', STORED_POST_PATTERN);
  const updatedAtMs = readAge(reader, 'updated at', latestMs);
  const lists = reader.varint('entries');
  const entries = reader.list('entries', ENTRY_BYTES, () => readEntry(reader, lives), Math.floor(lists / ENTRY));
  const hasRegisters = (lists & REGISTERS) > 0;
  const registers = hasRegisters
    ? reader.list('registers', REGISTER_BYTES, () => readRegister(reader, latestStamp))
    : [];
  const hasMembers = (lists & MEMBERS) > 0;
  const members = hasMembers ? reader.list('members', MEMBERS_BYTES, () => readMembers(reader)) : [];
  return { post, updatedAtMs, entries, registers, members };
}

function readEntry(reader: WireReader, lives: readonly RegionIncarnation[]): EntryDelta {
  const head = reader.varint('life and metric of an entry', lives.length * METRICS_MAX - 1);
  const replica = lives[Math.floor(head / METRICS_MAX)]!;
  return { metric: head % METRICS_MAX, incarnation: replica, p: reader.varint('p'), n: reader.varint('n') };
}

function readRegister(reader: WireReader, latestStamp: number): ToggleRegister {
  const head = reader.byte('metric of a register', 2 * METRICS_MAX - 1);
  const actor = reader.key('actor');
  const stamp = readAge(reader, 'stamp', latestStamp);
  return { metric: head % METRICS_MAX, actor, stamp, on: head >= METRICS_MAX };
}

function readMembers(reader: WireReader): MembersDelta {
  const metric = reader.byte('metric of members', METRICS_MAX - 1);
  const part = reader.varint('part');
  const parts = reader.varint('parts');
  if (part >= parts) throw new WireError('part must be below parts');
  return { metric, subset: part, subsets: parts, actors: reader.list('actors', KEY_BYTES, () => reader.key('actor')) };
}

function writeAge(writer: WireWriter, value: number, latest: number): void {
  writer.varint(value === 0 ? 0 : latest - value + 1);
}

function readAge(reader: WireReader, field: string, latest: number): number {
  const age = reader.varint(field, latest);
  return age === 0 ? 0 : latest - age + 1;
}

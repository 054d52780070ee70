import type { ProducerState } from '../../counters/batch.js';
import {
  type ChangeRecorder,
  formatEpoch,
  type MarkGeneration,
  NO_CHANGES,
  type PostState,
} from '../../counters/bucket.js';
import type { Key64 } from '../../counters/ids.js';
import type { RegionIncarnation } from '../../counters/pn-counter.js';
import { type ReplicatedBucket, ReplicatedChanges } from '../../counters/replication/replicated-bucket.js';
import type { ReplicationState } from '../../counters/replication/replication-state.js';
import type { ToggleRegister } from '../../counters/replication/delta.js';
import { STAMPS_PER_MS } from '../../counters/replication/hybrid-clock.js';
import { encodeBigEndian, ByteReader, type ByteWriter } from './disk/record-bytes.js';
import type { BucketRecords } from './bucket-records.js';
import type { PendingWrite } from './disk/write-set.js';
import { chunksFor, numberIn } from './mark-chunks.js';
import { Chunks } from './disk/chunks.js';
import { NUMBERED_BYTES, SortedKeyArray } from './disk/sorted-key-array.js';
import { locateMembers } from './disk/post-record.js';
import { CLOCK_SUFFIX, encodeReplicationState, STATE_SUFFIX } from './disk/replication-record.js';

/**
 * Marks in the bucket's own value, 8 KB, before they go to their chunks: where a bucket has more chunks than that nearly
 * each of them takes a write of its own, and with fewer several share one.
 */
const RECENT_MAX = 512;
/** Fences kept in memory. One is used at a time, by the lane; more where a lane began a new incarnation. */
const FENCES_MAX = 8;

/** A second of stamps. */
const RESERVED = 1_000 * STAMPS_PER_MS;

interface Generation {
  readonly number: number;
  readonly startedAtMs: number;
  marks: number;
  /** Marks of the generation before. */
  readonly marksBefore: number;
}

/** One bucket, for as long as the records are kept in memory. */
export class EmbeddedBucket implements ReplicatedBucket, PendingWrite {
  isDirty = false;
  readonly changes: ChangeRecorder;
  /** `null` where there are no other regions. */
  readonly #replication: ReplicationState | null;
  readonly #prefix: string;
  readonly #fences = new Map<string, ProducerState>();
  readonly #fencesSet = new Set<string>();
  #generation: Generation;
  #generationSet = false;
  #clockSet = false;
  /** No stamp above it was given, as far as the disk knows. */
  #reserved = 0;
  #regionalSet = false;
  /** That is on disk, or is written with what changes now: registers up to it are not needed even after a crash. */
  #floor = 0;
  /** Marks of this generation that are not in their chunks yet, or changed since: so a commit writes one value for many. */
  readonly #recent: SortedKeyArray;
  #marks: Chunks;
  #marksBefore: Chunks;

  constructor(
    readonly number: number,
    private readonly records: BucketRecords,
  ) {
    this.#replication = records.getReplicationState(number);
    this.changes = this.#replication === null ? NO_CHANGES : new ReplicatedChanges(this);
    this.#prefix = encodeBigEndian(number, 2);
    const bytes = records.tables.generations.get(this.#prefix);
    const reader = bytes && new ByteReader(bytes);
    this.#generation = {
      number: reader?.varint() ?? 1,
      startedAtMs: reader?.varint() ?? 0,
      marks: reader?.varint() ?? 0,
      marksBefore: reader?.varint() ?? 0,
    };
    this.#recent = new SortedKeyArray(NUMBERED_BYTES, reader?.raw(reader.bytesLeft));
    this.#marks = this.#chunksOf(this.#generation.number);
    this.#marksBefore = this.#chunksOf(this.#generation.number - 1);
  }

  get incarnation(): RegionIncarnation {
    return this.records.incarnation;
  }

  get epoch(): string {
    return formatEpoch(this.incarnation);
  }

  get replication(): ReplicationState {
    if (this.#replication === null) throw new Error('this store has no other regions');
    return this.#replication;
  }

  producerState(incarnation: string): ProducerState | undefined {
    const known = this.#fences.get(incarnation);
    if (known !== undefined) return known;
    const bytes = this.records.tables.fences.get(this.#prefix + incarnation);
    if (bytes === undefined) return undefined;
    const reader = new ByteReader(bytes);
    const n = reader.varint();
    return { batchNumber: n, outcomes: reader.raw(reader.varint()) };
  }

  setProducerState(incarnation: string, fence: ProducerState): void {
    if (this.#fences.size >= FENCES_MAX && this.#fencesSet.size === 0) this.#fences.clear();
    this.#fences.set(incarnation, fence);
    this.#fencesSet.add(incarnation);
    this.records.changes.add(this);
  }

  post(id: string): PostState | undefined {
    const post = this.records.loadPost(id);
    return post.exists ? post.record.state : undefined;
  }

  setPost(id: string, state: PostState): void {
    this.records.loadPost(id).set(state);
  }

  hasMember(id: string, metric: number, actor: Key64): boolean {
    const { members } = this.records.loadPost(id).record;
    const place = members[metric];
    return place !== undefined && this.records.members.has(id, metric, place, actor);
  }

  setMember(id: string, metric: number, actor: Key64, on: boolean): void {
    const post = this.records.loadPost(id);
    this.records.changes.add(post);
    this.records.members.set(id, metric, locateMembers(post.record, metric), actor, on);
  }

  listMembers(id: string, metric: number): Key64[] {
    const place = this.records.loadPost(id).record.members[metric];
    return place === undefined ? [] : this.records.members.list(id, metric, place);
  }

  registerStamp(id: string, metric: number, actor: Key64): number {
    const place = this.records.loadPost(id).record.members[metric];
    return place === undefined ? 0 : this.records.registers.get(id, metric, place, actor);
  }

  setRegisterStamp(id: string, metric: number, actor: Key64, stamp: number): void {
    const post = this.records.loadPost(id);
    this.records.changes.add(post);
    // The floor goes back where the clock does.
    const floor = Math.min(this.#floor, this.replication.state.stableStamp);
    this.records.registers.set(id, metric, locateMembers(post.record, metric), actor, stamp, floor);
    this.records.indexRegister(this.number, id, stamp);
  }

  listRegisters(id: string): ToggleRegister[] {
    const { record } = this.records.loadPost(id);
    return record.members.flatMap((place, metric) =>
      this.records.registers.list(id, metric, place).map(({ actor, stamp }) => {
        return { metric, actor, stamp, on: this.hasMember(id, metric, actor) };
      }),
    );
  }

  listPostsWithRegisters(): string[] {
    return this.records.listPostsWithRegisters(this.number);
  }

  /** Some stamps are written down ahead, so that few batches have to. Until then they were given, after a crash. */
  persistClock(): void {
    const { clock } = this.replication.state;
    if (clock <= this.#reserved) return;
    this.#keepClock(clock + RESERVED);
  }

  /** For a store that closes: the next process goes on from here, and not from what is reserved. */
  persistExactClock(): void {
    this.#keepClock(this.replication.state.clock);
  }

  #keepClock(clock: number): void {
    this.#reserved = clock;
    this.#clockSet = true;
    this.records.changes.add(this);
  }

  /** Registers up to the floor are dropped: after a crash what is said of them late would be taken for news without it. */
  persistStableStamp(): void {
    if (this.replication.state.stableStamp > this.#floor) this.persistReplication();
  }

  persistReplication(): void {
    this.#regionalSet = true;
    this.records.changes.add(this);
    this.persistClock();
  }

  markGeneration(): MarkGeneration {
    return this.#generation;
  }

  startMarkGeneration(atMs: number): void {
    const { number, marks } = this.#generation;
    this.#settleRecent();
    this.#generation = { number: number + 1, startedAtMs: atMs, marks: 0, marksBefore: marks };
    this.#marksBefore = this.#marks;
    this.#marks = this.#chunksOf(number + 1);
    this.#generationChanged();
  }

  lastSeq(session: Key64): number {
    const { marks, marksBefore } = this.#generation;
    const recent = this.#recent.indexOf(session);
    if (recent >= 0) return this.#recent.numberAt(recent);
    return numberIn(this.#marks, marks, session) ?? numberIn(this.#marksBefore, marksBefore, session) ?? 0;
  }

  setLastSeq(session: Key64, seq: number): void {
    const generation = this.#generation;
    const index = this.#recent.indexOf(session);
    if (index >= 0) this.#recent.setNumber(index, seq);
    else {
      this.#recent.insert(-1 - index, session);
      this.#recent.setNumber(-1 - index, seq);
      if (numberIn(this.#marks, generation.marks, session) === undefined) {
        const chunks = chunksFor(generation.marks);
        generation.marks += 1;
        if (chunksFor(generation.marks) > chunks) this.#marks.split(chunks);
      }
      if (this.#recent.size >= RECENT_MAX) this.#settleRecent();
    }
    this.#generationChanged();
  }

  write(writer: ByteWriter): void {
    const { tables } = this.records;
    if (this.#generationSet) {
      const { number, startedAtMs, marks, marksBefore } = this.#generation;
      writer.varint(number).varint(startedAtMs).varint(marks).varint(marksBefore);
      writer.raw(this.#recent.bytes, this.#recent.byteLength);
      tables.generations.put(this.#prefix, writer.value());
      this.#generationSet = false;
    }
    if (this.#clockSet || this.#regionalSet) this.#writeRegional(writer);
    for (const incarnation of this.#fencesSet) {
      const { batchNumber: n, outcomes } = this.#fences.get(incarnation)!;
      tables.fences.put(this.#prefix + incarnation, writer.varint(n).varint(outcomes.length).raw(outcomes).value());
    }
    this.#fencesSet.clear();
  }

  #writeRegional(writer: ByteWriter): void {
    const { regional: table } = this.records.tables;
    const { state } = this.replication;
    if (this.#clockSet) table.put(this.#prefix + CLOCK_SUFFIX, writer.varint(this.#reserved).value());
    if (this.#regionalSet) {
      table.put(this.#prefix + STATE_SUFFIX, writer.raw(encodeReplicationState(state)).value());
      this.#floor = state.stableStamp;
    }
    this.#clockSet = false;
    this.#regionalSet = false;
  }

  /** Removes up to `limit` chunks of marks of generations that are no longer looked at, and says how many. */
  purgeMarks(limit: number): number {
    const { tables, changes } = this.records;
    const oldest = Math.max(this.#generation.number - 1, 0);
    const keys = tables.marks.keys(
      this.#prefix + encodeBigEndian(0, 4),
      this.#prefix + encodeBigEndian(oldest, 4),
      limit,
    );
    for (const key of keys) changes.add({ isDirty: false, write: () => tables.marks.remove(key) });
    return keys.length;
  }

  /** Puts the recent marks into their chunks. */
  #settleRecent(): void {
    const recent = this.#recent;
    for (let i = 0; i < recent.size; i++) {
      const session = recent.keyAt(i);
      const chunk = this.#marks.chunkFor(session, chunksFor(this.#generation.marks));
      const index = chunk.entries.indexOf(session);
      if (index < 0) chunk.entries.insert(-1 - index, session);
      chunk.entries.setNumber(index < 0 ? -1 - index : index, recent.numberAt(i));
      this.records.changes.add(chunk);
    }
    recent.clear();
  }

  #generationChanged(): void {
    this.#generationSet = true;
    this.records.changes.add(this);
  }

  #chunksOf(generation: number): Chunks {
    const { tables, changes } = this.records;
    return new Chunks(tables.marks, changes, this.#prefix + encodeBigEndian(generation, 4), NUMBERED_BYTES);
  }
}

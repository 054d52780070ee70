import type { Fence } from '../../counters/batch.js';
import { type Bucket, epochOf, type MarkGeneration, type PostState } from '../../counters/bucket.js';
import type { Key64 } from '../../counters/ids.js';
import type { Replica } from '../../counters/pn-counter.js';
import { ByteReader, ByteWriter } from './bytes.js';
import { MemberTable } from './member-table.js';
import { decodePost, encodePost, memberPlace, type PostRecord } from './post-record.js';
import type { Table } from './table.js';

/** The tables of a data directory. A post belongs to one bucket, so only what has no post carries the bucket's number. */
export interface Tables {
  /** post → PostRecord */
  readonly posts: Table;
  /** metric, post, chunk number → a chunk of members */
  readonly members: Table;
  /** bucket, generation, session → its last seq */
  readonly marks: Table;
  /** bucket → its mark generation */
  readonly generations: Table;
  /** bucket, incarnation → Fence. Of this process only: emptied at boot */
  readonly fences: Table;
}

interface Touched {
  readonly record: PostRecord;
  /** Whether the post was counted before, or is now. */
  known: boolean;
  dirty: boolean;
}

const writer = new ByteWriter();

/** One bucket during one group commit: reads from LMDB, writes into the tables' open transaction. */
export class EmbeddedBucket implements Bucket {
  readonly epoch: string;
  readonly #members: MemberTable;
  readonly #touched = new Map<string, Touched>();
  #generation: MarkGeneration | undefined;
  #generationDirty = false;

  constructor(
    readonly number: number,
    readonly replica: Replica,
    private readonly tables: Tables,
    private readonly replicas: readonly Replica[],
  ) {
    this.epoch = epochOf(replica);
    this.#members = new MemberTable(tables.members);
  }

  fence(incarnation: string): Fence | undefined {
    const bytes = this.tables.fences.get(bigEndian(this.number, 2) + incarnation);
    if (bytes === undefined) return undefined;
    const reader = new ByteReader(bytes);
    const n = reader.varint();
    return { n, outcomes: reader.raw(reader.varint()) };
  }

  setFence(incarnation: string, { n, outcomes }: Fence): void {
    const key = bigEndian(this.number, 2) + incarnation;
    this.tables.fences.put(key, writer.varint(n).varint(outcomes.length).raw(outcomes).take());
  }

  post(id: string): PostState | undefined {
    const touched = this.#touch(id);
    return touched.known ? touched.record.state : undefined;
  }

  setPost(id: string, state: PostState): void {
    const touched = this.#touch(id);
    Object.assign(touched.record.state, state);
    touched.known = true;
    touched.dirty = true;
  }

  hasMember(post: string, metric: number, actor: Key64): boolean {
    const place = this.#touch(post).record.members[metric];
    return place !== undefined && this.#members.has(post, metric, place, actor);
  }

  setMember(post: string, metric: number, actor: Key64, on: boolean): void {
    const { record } = this.#touch(post);
    const place = memberPlace(record, metric);
    this.#members.set(post, metric, place, actor, on);
  }

  generation(): MarkGeneration {
    if (this.#generation === undefined) {
      const bytes = this.tables.generations.get(bigEndian(this.number, 2));
      const reader = bytes && new ByteReader(bytes);
      this.#generation = {
        number: reader?.varint() ?? 1,
        startedAtMs: reader?.varint() ?? 0,
        marks: reader?.varint() ?? 0,
      };
    }
    return this.#generation;
  }

  startGeneration(atMs: number): void {
    this.#generation = { number: this.generation().number + 1, startedAtMs: atMs, marks: 0 };
    this.#generationDirty = true;
  }

  mark(session: Key64): number {
    const { number } = this.generation();
    const bytes =
      this.tables.marks.get(this.#markKey(number, session)) ??
      this.tables.marks.get(this.#markKey(number - 1, session));
    return bytes === undefined ? 0 : new ByteReader(bytes).varint();
  }

  setMark(session: Key64, seq: number): void {
    const generation = this.generation();
    const key = this.#markKey(generation.number, session);
    // In this generation for the first time.
    if (this.tables.marks.get(key) === undefined) {
      this.#generation = { ...generation, marks: generation.marks + 1 };
      this.#generationDirty = true;
    }
    this.tables.marks.put(key, writer.varint(seq).take());
  }

  /** Puts what the batch changed into the tables' transaction. */
  flush(): void {
    const replicaIndex = (replica: Replica): number => this.replicas.indexOf(replica);
    for (const [id, { record, dirty }] of this.#touched) {
      if (dirty) this.tables.posts.put(id, encodePost(record, replicaIndex));
    }
    if (this.#generationDirty) {
      const { number, startedAtMs, marks } = this.generation();
      const bytes = writer.varint(number).varint(startedAtMs).varint(marks).take();
      this.tables.generations.put(bigEndian(this.number, 2), bytes);
    }
  }

  /** Removes up to `limit` marks of generations that are no longer looked at, and says how many. */
  purgeMarks(limit: number): number {
    const prefix = bigEndian(this.number, 2);
    const oldest = Math.max(this.generation().number - 1, 0);
    const keys = this.tables.marks.keys(prefix + bigEndian(0, 4), prefix + bigEndian(oldest, 4), limit);
    for (const key of keys) this.tables.marks.remove(key);
    return keys.length;
  }

  #touch(id: string): Touched {
    let touched = this.#touched.get(id);
    if (touched === undefined) {
      const bytes = this.tables.posts.get(id);
      const record = bytes && decodePost(bytes, this.replicas);
      touched = {
        record: record ?? { state: { v: 0, updatedAtMs: 0, metrics: [] }, members: [] },
        known: record !== undefined,
        dirty: false,
      };
      this.#touched.set(id, touched);
    }
    return touched;
  }

  #markKey(generation: number, session: Key64): string {
    return bigEndian(this.number, 2) + bigEndian(generation, 4) + bigEndian(session.hi, 4) + bigEndian(session.lo, 4);
  }
}

function bigEndian(value: number, bytes: 2 | 4): string {
  const low = String.fromCharCode((value >>> 8) & 0xff, value & 0xff);
  return bytes === 2 ? low : String.fromCharCode(value >>> 24, (value >>> 16) & 0xff) + low;
}

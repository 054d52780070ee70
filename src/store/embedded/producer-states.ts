import type { ProducerState } from '../../counters/batch.js';
import type { LmdbTable } from './disk/lmdb-table.js';
import { ByteReader, type ByteWriter } from './disk/record-bytes.js';
import type { PendingWrite, WriteSet } from './disk/write-set.js';

/** States kept in memory. The bucket queue uses one producer id at a time, and another one after it restarted its numbering. */
const CACHED_MAX = 8;

/** The last batch of each producer of a bucket, so that a batch that is sent twice is applied once. */
export class ProducerStates implements PendingWrite {
  isDirty = false;
  readonly #cached = new Map<string, ProducerState>();
  readonly #unwritten = new Set<string>();

  /** @param prefix of the bucket's keys */
  constructor(
    private readonly table: LmdbTable,
    private readonly changes: WriteSet,
    private readonly prefix: string,
  ) {}

  get(producerId: string): ProducerState | undefined {
    const cached = this.#cached.get(producerId);
    if (cached !== undefined) return cached;
    const bytes = this.table.get(this.prefix + producerId);
    if (bytes === undefined) return undefined;
    const reader = new ByteReader(bytes);
    const batchNumber = reader.varint();
    return { batchNumber, outcomes: reader.raw(reader.varint()) };
  }

  set(producerId: string, state: ProducerState): void {
    if (this.#cached.size >= CACHED_MAX && this.#unwritten.size === 0) this.#cached.clear();
    this.#cached.set(producerId, state);
    this.#unwritten.add(producerId);
    this.changes.add(this);
  }

  write(writer: ByteWriter): void {
    for (const producerId of this.#unwritten) {
      const { batchNumber, outcomes } = this.#cached.get(producerId)!;
      const value = writer.varint(batchNumber).varint(outcomes.length).raw(outcomes).value();
      this.table.put(this.prefix + producerId, value);
    }
    this.#unwritten.clear();
  }
}

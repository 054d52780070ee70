import type { LmdbTable } from './disk/lmdb-table.js';
import { ByteReader, type ByteWriter } from './disk/record-bytes.js';
import type { PendingWrite, WriteSet } from './disk/write-set.js';

/** Up to where the events of logs are applied to a bucket. Names of logs change only when a log was emptied, so there are few. */
export class LogPositions implements PendingWrite {
  isDirty = false;
  readonly #cached = new Map<string, number>();

  /** @param prefix of the bucket's keys */
  constructor(
    private readonly table: LmdbTable,
    private readonly changes: WriteSet,
    private readonly prefix: string,
  ) {}

  get(log: string): number {
    let position = this.#cached.get(log);
    if (position === undefined) {
      const bytes = this.table.get(this.prefix + log);
      position = bytes === undefined ? 0 : new ByteReader(bytes).varint();
      this.#cached.set(log, position);
    }
    return position;
  }

  set(log: string, position: number): void {
    this.#cached.set(log, position);
    this.changes.add(this);
  }

  write(writer: ByteWriter): void {
    for (const [log, position] of this.#cached) this.table.put(this.prefix + log, writer.varint(position).value());
  }
}

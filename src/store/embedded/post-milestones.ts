import type { Milestones } from '../../counters/milestones.js';
import type { LmdbTable } from './disk/lmdb-table.js';
import type { ByteWriter } from './disk/record-bytes.js';
import type { PendingWrite, WriteSet } from './disk/write-set.js';

/** The milestones of one post, by metric index; on disk as JSON, because they are read and written rarely. */
export class PostMilestones implements PendingWrite {
  isDirty = false;
  readonly #key: string;
  readonly #metrics: (Milestones | null)[];

  constructor(
    post: string,
    private readonly table: LmdbTable,
    private readonly changes: WriteSet,
  ) {
    this.#key = `post ${post}`;
    const bytes = table.get(this.#key);
    this.#metrics = bytes === undefined ? [] : (JSON.parse(bytes.toString()) as (Milestones | null)[]);
  }

  get(metric: number): Milestones | undefined {
    return this.#metrics[metric] ?? undefined;
  }

  set(metric: number, milestones: Milestones): void {
    while (this.#metrics.length < metric) this.#metrics.push(null);
    this.#metrics[metric] = milestones;
    this.changes.add(this);
  }

  write(writer: ByteWriter): void {
    this.table.put(this.#key, writer.raw(Buffer.from(JSON.stringify(this.#metrics))).value());
  }
}

import { areNone, type Milestones } from '../../counters/milestones.js';
import type { LmdbTable } from './disk/lmdb-table.js';
import { decodeMilestones, encodeMilestones, type MilestonesByMetric, POST_PREFIX } from './disk/milestones-record.js';
import type { ByteWriter } from './disk/record-bytes.js';
import type { PendingWrite, WriteSet } from './disk/write-set.js';

/** The milestones of one post. */
export class PostMilestones implements PendingWrite {
  isDirty = false;
  readonly #metrics: MilestonesByMetric;

  constructor(
    readonly post: string,
    private readonly table: LmdbTable,
    private readonly changes: WriteSet,
  ) {
    const bytes = table.get(POST_PREFIX + post);
    this.#metrics = bytes === undefined ? [] : decodeMilestones(bytes);
  }

  get(metric: number): Milestones | undefined {
    return this.#metrics[metric] ?? undefined;
  }

  set(metric: number, milestones: Milestones): void {
    while (this.#metrics.length < metric) this.#metrics.push(null);
    this.#metrics[metric] = areNone(milestones) ? null : milestones;
    this.changes.add(this);
  }

  write(writer: ByteWriter): void {
    const key = POST_PREFIX + this.post;
    if (this.#metrics.every((one) => one === null)) this.table.remove(key);
    else this.table.put(key, writer.raw(encodeMilestones(this.#metrics)).value());
  }
}

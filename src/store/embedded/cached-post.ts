import type { PostState } from '../../counters/bucket.js';
import type { RegionIncarnation } from '../../counters/pn-counter.js';
import type { LmdbTables } from './disk/lmdb-environment.js';
import { encodePost, type PostRecord } from './disk/post-record.js';
import type { ByteWriter } from './disk/record-bytes.js';
import type { PendingWrite, WriteSet } from './disk/write-set.js';
import { PostMilestones } from './post-milestones.js';

/** The part of the cache that a post uses. */
interface PostRecords {
  readonly tables: Pick<LmdbTables, 'posts' | 'milestones'>;
  readonly changes: WriteSet;
  /** Records refer to them by index. */
  readonly incarnations: readonly RegionIncarnation[];
}

/** A post in memory. */
export class CachedPost implements PendingWrite {
  isDirty = false;
  #milestones: PostMilestones | null = null;

  constructor(
    readonly id: string,
    readonly record: PostRecord,
    /** Whether it has a record on disk, or gets one with the current changes. */
    public exists: boolean,
    private readonly records: PostRecords,
  ) {}

  /** Read when they are first needed, because most posts have none. */
  get milestones(): PostMilestones {
    const { tables, changes } = this.records;
    return (this.#milestones ??= new PostMilestones(this.id, tables.milestones, changes));
  }

  set(state: PostState): void {
    this.record.state = state;
    this.exists = true;
    this.records.changes.add(this);
  }

  write(writer: ByteWriter): void {
    const { tables, incarnations } = this.records;
    tables.posts.put(this.id, encodePost(this.record, incarnations, writer).value());
  }
}

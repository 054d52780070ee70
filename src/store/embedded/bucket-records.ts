import type { PostState } from '../../counters/bucket.js';
import type { RegionIncarnation } from '../../counters/pn-counter.js';
import type { ReplicationState } from '../../counters/replication/replication-state.js';
import type { PendingWrite, WriteSet } from './disk/write-set.js';
import type { MemberTable } from './disk/member-table.js';
import type { PostRecord } from './disk/post-record.js';
import type { RegisterTable } from './disk/register-table.js';
import type { LmdbTables } from './disk/tables.js';

/** A post that is in memory. */
interface CachedPost extends PendingWrite {
  readonly record: PostRecord;
  /** Whether it was counted before, or is now. */
  readonly exists: boolean;
  set(state: PostState): void;
}

/** The part of the records that a bucket uses. */
export interface BucketRecords {
  readonly tables: LmdbTables;
  readonly changes: WriteSet;
  readonly members: MemberTable;
  readonly registers: RegisterTable;
  /** The own region's present life. */
  readonly incarnation: RegionIncarnation;
  getReplicationState(bucket: number): ReplicationState | null;
  loadPost(id: string): CachedPost;
  indexRegister(bucket: number, id: string, stamp: number): void;
  listPostsWithRegisters(bucket: number): string[];
}

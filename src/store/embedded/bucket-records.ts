import type { PostState } from '../../counters/bucket.js';
import type { Replica } from '../../counters/pn-counter.js';
import type { ReplicationState } from '../../counters/replication/replication-state.js';
import type { Change, WriteSet } from './disk/write-set.js';
import type { MemberTable } from './disk/member-table.js';
import type { PostRecord } from './disk/post-record.js';
import type { RegisterTable } from './disk/register-table.js';
import type { Tables } from './disk/tables.js';

/** A post that is in memory. */
interface CachedPost extends Change {
  readonly record: PostRecord;
  /** Whether it was counted before, or is now. */
  readonly known: boolean;
  set(state: PostState): void;
}

/** The part of the records that a bucket uses. */
export interface BucketRecords {
  readonly tables: Tables;
  readonly changes: WriteSet;
  readonly members: MemberTable;
  readonly registers: RegisterTable;
  /** The own region's present life. */
  readonly replica: Replica;
  regional(bucket: number): ReplicationState | null;
  post(id: string): CachedPost;
  stamped(bucket: number, id: string, stamp: number): void;
  postsWithRegisters(bucket: number): string[];
}

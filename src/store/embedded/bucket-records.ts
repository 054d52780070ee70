import type { RegionIncarnation } from '../../counters/pn-counter.js';
import type { ReplicationState } from '../../counters/replication/replication-state.js';
import type { CachedPost } from './cached-post.js';
import type { LmdbTables } from './disk/lmdb-environment.js';
import type { MemberTable } from './disk/member-table.js';
import type { RegisterTable } from './disk/register-table.js';
import type { WriteSet } from './disk/write-set.js';
import type { RegisterExpiry } from './register-expiry.js';

/** The part of the cache that a bucket uses. */
export interface BucketRecords {
  readonly tables: LmdbTables;
  readonly changes: WriteSet;
  readonly members: MemberTable;
  readonly registers: RegisterTable;
  readonly registerExpiry: RegisterExpiry;
  /** The own region's current incarnation. */
  readonly incarnation: RegionIncarnation;
  getReplicationState(bucket: number): ReplicationState | null;
  loadPost(id: string): CachedPost;
}

import { firstStampAt } from '../../counters/replication/hybrid-clock.js';
import { newReplicationState, ReplicationState } from '../../counters/replication/replication-state.js';
import type { DataDirectory } from './disk/data-directory.js';
import { END_OF_KEYS } from './disk/lmdb-table.js';
import { encodeBigEndian } from './disk/record-bytes.js';
import { readReplicationState } from './disk/replication-record.js';

/** Reads the replication state of each bucket as it is on disk, and restarts it if the directory has begun an incarnation. */
export function readReplicationStates(directory: DataDirectory, buckets: number, wallMs: number): ReplicationState[] {
  const { incarnation, incarnations, tables, isNewIncarnation } = directory;
  // Counts from before there were other regions have no stamps. They count as older than everything that has one.
  const startsAt = tables.posts.keys('', END_OF_KEYS, 1).length > 0 ? firstStampAt(wallMs) : 0;
  const before = incarnations.findLast((one) => one.region === incarnation.region && one !== incarnation);
  return Array.from({ length: buckets }, (_, bucket) => {
    const stored = readReplicationState(tables.replication, encodeBigEndian(bucket, 2));
    const replication = new ReplicationState(incarnation.region, stored ?? newReplicationState(startsAt));
    if (stored !== undefined && isNewIncarnation && before !== undefined) replication.restart(before, wallMs);
    return replication;
  });
}

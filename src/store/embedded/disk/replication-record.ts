import type { PersistentReplicationState } from '../../../counters/replication/replication-state.js';
import { ByteReader } from './record-bytes.js';
import type { LmdbTable } from './lmdb-table.js';

/** Suffixes of the keys in the table `replication`, after the bucket's prefix. */
export const STATE_SUFFIX = 's';
export const CLOCK_SUFFIX = 'c';

/** The fields on disk. Their names are part of the format. */
interface StoredState {
  readonly clock: number;
  readonly changedAt: number;
  readonly born: number;
  readonly goesOn: PersistentReplicationState['predecessors'];
  readonly found: number;
  readonly sure: number;
  readonly filling: boolean;
  readonly toldBy: readonly string[];
  readonly toldAt: number;
  readonly confirmed: number;
  readonly floor: number;
  readonly known: readonly (readonly [region: string, entry: StoredEntry])[];
  readonly heard: readonly (readonly [region: string, incarnation: StoredIncarnation])[];
}

interface StoredIncarnation {
  readonly epoch: number;
  readonly nonce: number;
}

interface StoredEntry extends StoredIncarnation {
  readonly upTo: number;
  readonly confirmed: number;
}

/** Written where anything but the clock changes: some times a second a bucket. */
export function encodeReplicationState(state: PersistentReplicationState): Buffer {
  const stored: StoredState = {
    clock: state.clock,
    changedAt: state.lastChangeStamp,
    born: state.startedAtStamp,
    goesOn: state.predecessors,
    found: state.recoveredUpTo,
    sure: state.completeUpTo,
    filling: state.backfilling,
    toldBy: state.syncedFrom,
    toldAt: state.syncedAtStamp,
    confirmed: state.ackedUpTo,
    floor: state.stableStamp,
    known: Array.from(state.versionVector, ([region, known]) => {
      const { epoch, nonce, upTo, ackedUpTo } = known;
      return [region, { epoch, nonce, upTo, confirmed: ackedUpTo }];
    }),
    heard: [...state.latestIncarnations],
  };
  return Buffer.from(JSON.stringify(stored));
}

/** @param prefix of the bucket's keys. @returns `undefined` if the bucket was never replicated */
export function readReplicationState(table: LmdbTable, prefix: string): PersistentReplicationState | undefined {
  const bytes = table.get(prefix + STATE_SUFFIX);
  if (bytes === undefined) return undefined;
  const stored = JSON.parse(bytes.toString()) as StoredState;
  const bytesOfClock = table.get(prefix + CLOCK_SUFFIX);
  const clock = bytesOfClock === undefined ? stored.clock : new ByteReader(bytesOfClock).varint();
  return {
    clock,
    // A store that was not closed has reserved stamps, and may have used them after the state was written.
    lastChangeStamp: clock === stored.clock ? stored.changedAt : clock,
    startedAtStamp: stored.born,
    predecessors: stored.goesOn,
    recoveredUpTo: stored.found,
    completeUpTo: stored.sure,
    backfilling: stored.filling,
    syncedFrom: stored.toldBy,
    syncedAtStamp: stored.toldAt,
    ackedUpTo: stored.confirmed,
    stableStamp: stored.floor,
    versionVector: new Map(
      stored.known.map(([region, { epoch, nonce, upTo, confirmed: ackedUpTo }]) => [
        region,
        { epoch, nonce, upTo, ackedUpTo },
      ]),
    ),
    latestIncarnations: new Map(stored.heard),
  };
}

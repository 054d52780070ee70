import type { RegionalState } from '../../../counters/replication/replication-state.js';
import { ByteReader } from './record-bytes.js';
import type { LmdbTable } from './lmdb-table.js';

/** What follows the bucket in the keys of the table `regional`. */
export const STATE = 's';
export const CLOCK = 'c';

/** Written where something of it changes besides the clock: some times a second a bucket. */
export function encodeState(state: RegionalState): Buffer {
  return Buffer.from(JSON.stringify({ ...state, known: [...state.known], heard: [...state.heard] }));
}

/** @param prefix the bucket; `undefined`: it has had no dealings with other regions */
export function readState(table: LmdbTable, prefix: string): RegionalState | undefined {
  const bytes = table.get(prefix + STATE);
  if (bytes === undefined) return undefined;
  const state = JSON.parse(bytes.toString()) as Written;
  const bytesOfClock = table.get(prefix + CLOCK);
  const clock = bytesOfClock === undefined ? state.clock : new ByteReader(bytesOfClock).varint();
  return {
    ...state,
    known: new Map(state.known),
    heard: new Map(state.heard),
    clock,
    // A store that was not closed has a clock that is ahead, and may have changed more than the state says.
    changedAt: clock === state.clock ? state.changedAt : clock,
  };
}

type Entries<M> = M extends Map<infer K, infer V> ? [K, V][] : never;

type Written = Omit<RegionalState, 'known' | 'heard'> & {
  readonly known: Entries<RegionalState['known']>;
  readonly heard: Entries<RegionalState['heard']>;
};

import type { RegionalState } from '../../../counters/replication/replication-state.js';
import { ByteReader } from './record-bytes.js';
import type { LmdbTable } from './lmdb-table.js';

/** Suffixes of the keys in the table `regional`, after the bucket's prefix. */
export const STATE = 's';
export const CLOCK = 'c';

/** The names of the fields on disk. They are part of the format, so they differ from those in memory where these were renamed. */
interface StoredState {
  readonly clock: number;
  readonly changedAt: number;
  readonly born: number;
  readonly goesOn: RegionalState['goesOn'];
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

/** Written where something of it changes besides the clock: some times a second a bucket. */
export function encodeState(state: RegionalState): Buffer {
  const stored: StoredState = {
    clock: state.clock,
    changedAt: state.changedAt,
    born: state.born,
    goesOn: state.goesOn,
    found: state.found,
    sure: state.sure,
    filling: state.filling,
    toldBy: state.toldBy,
    toldAt: state.toldAt,
    confirmed: state.confirmed,
    floor: state.floor,
    known: Array.from(state.known, ([region, known]) => {
      const { epoch, nonce, upTo, confirmed } = known;
      return [region, { epoch, nonce, upTo, confirmed }];
    }),
    heard: [...state.heard],
  };
  return Buffer.from(JSON.stringify(stored));
}

/** @param prefix the bucket; `undefined`: it has had no dealings with other regions */
export function readState(table: LmdbTable, prefix: string): RegionalState | undefined {
  const bytes = table.get(prefix + STATE);
  if (bytes === undefined) return undefined;
  const stored = JSON.parse(bytes.toString()) as StoredState;
  const bytesOfClock = table.get(prefix + CLOCK);
  const clock = bytesOfClock === undefined ? stored.clock : new ByteReader(bytesOfClock).varint();
  return {
    clock,
    // A store that was not closed has a clock that is ahead, and may have changed more than the state says.
    changedAt: clock === stored.clock ? stored.changedAt : clock,
    born: stored.born,
    goesOn: stored.goesOn,
    found: stored.found,
    sure: stored.sure,
    filling: stored.filling,
    toldBy: stored.toldBy,
    toldAt: stored.toldAt,
    confirmed: stored.confirmed,
    floor: stored.floor,
    known: new Map(
      stored.known.map(([region, { epoch, nonce, upTo, confirmed }]) => [region, { epoch, nonce, upTo, confirmed }]),
    ),
    heard: new Map(stored.heard),
  };
}

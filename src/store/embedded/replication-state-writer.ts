import { STAMPS_PER_MS } from '../../counters/replication/hybrid-clock.js';
import type { PersistentReplicationState } from '../../counters/replication/replication-state.js';
import type { LmdbTable } from './disk/lmdb-table.js';
import type { ByteWriter } from './disk/record-bytes.js';
import { CLOCK_SUFFIX, encodeReplicationState, STATE_SUFFIX } from './disk/replication-record.js';
import type { PendingWrite, WriteSet } from './disk/write-set.js';

/** How far ahead of the clock stamps are reserved on disk: with one second few batches have to write the clock. */
const RESERVED_STAMPS = 1_000 * STAMPS_PER_MS;

/** Decides how much of a bucket's clock and replication state goes to disk, and when. */
export class ReplicationStateWriter implements PendingWrite {
  isDirty = false;
  #isClockChanged = false;
  #isStateChanged = false;
  /** The clock on disk, which the next process starts from: all stamps that were given are at or below it. */
  #reservedUpTo = 0;
  #durableStableStamp = 0;

  /** @param prefix of the bucket's keys */
  constructor(
    private readonly state: PersistentReplicationState,
    private readonly table: LmdbTable,
    private readonly changes: WriteSet,
    private readonly prefix: string,
  ) {}

  /** Registers up to it are not needed even after a crash, because the next process finds it on disk. Goes back where the clock does. */
  get durableStableStamp(): number {
    return Math.min(this.#durableStableStamp, this.state.stableStamp);
  }

  /** Reserves stamps where those on disk are used up. After a crash all reserved stamps count as given. */
  persistClock(): void {
    const { clock } = this.state;
    if (clock > this.#reservedUpTo) this.#writeClock(clock + RESERVED_STAMPS);
  }

  /** Reserves nothing, for a store that closes: the next process goes on from the clock itself. */
  persistExactClock(): void {
    this.#writeClock(this.state.clock);
  }

  /** To be called where registers expire: after a crash without the stamp, late updates at or below it would be applied as new ones. */
  persistStableStamp(): void {
    if (this.state.stableStamp > this.#durableStableStamp) this.persistState();
  }

  persistState(): void {
    this.#isStateChanged = true;
    this.changes.add(this);
    this.persistClock();
  }

  write(writer: ByteWriter): void {
    const { state, table, prefix } = this;
    if (this.#isClockChanged) table.put(prefix + CLOCK_SUFFIX, writer.varint(this.#reservedUpTo).value());
    if (this.#isStateChanged) {
      table.put(prefix + STATE_SUFFIX, writer.raw(encodeReplicationState(state)).value());
      this.#durableStableStamp = state.stableStamp;
    }
    this.#isClockChanged = false;
    this.#isStateChanged = false;
  }

  #writeClock(clock: number): void {
    this.#reservedUpTo = clock;
    this.#isClockChanged = true;
    this.changes.add(this);
  }
}

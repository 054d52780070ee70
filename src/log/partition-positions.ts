import type { Clock } from '../common/clock.js';
import type { StoreBehindLog } from '../store/store-behind-log.js';
import { LOG_PARTITIONS } from './event-log.js';
import { PositionHistory } from './position-history.js';

/** After a failover positions have gone back, also of buckets for which nothing new comes. */
const MAX_AGE_MS = 5_000;

export interface BucketPosition {
  readonly bucket: number;
  /** As far as known; it may have moved. */
  position: number;
}

export interface PartitionPositionsOptions {
  readonly partition: number;
  readonly buckets: number;
  /** LOG_KEEP_S */
  readonly keepMs: number;
  readonly clock: Clock;
}

/** Up to where a partition of the log is applied to each of its buckets, as the store last said. */
export class PartitionPositions {
  readonly buckets: readonly BucketPosition[];
  readonly #history: PositionHistory;
  /** For a log that fills up: a failover loses nothing older. */
  readonly #shortHistory: PositionHistory;
  /** Everything up to this offset is applied; `null`: no positions have been read. */
  #cursor: number | null = null;
  #areSuspect = true;
  /** When the last reading began. */
  #readAtMs = 0;

  constructor(
    private readonly store: Pick<StoreBehindLog, 'logPosition' | 'replayWindowMs'>,
    private readonly options: PartitionPositionsOptions,
    /** Whether they are read again although nothing failed. */
    private readonly rereads: boolean,
  ) {
    const { partition, buckets, keepMs } = options;
    const count = Math.ceil((buckets - partition) / LOG_PARTITIONS);
    this.buckets = Array.from({ length: count }, (_, i) => ({ bucket: partition + i * LOG_PARTITIONS, position: 0 }));
    this.#history = new PositionHistory(keepMs);
    this.#shortHistory = new PositionHistory(Math.min(keepMs, store.replayWindowMs));
  }

  /**
   * Everything up to this offset is applied; `null`: unknown. A bucket whose position is below has no events between its position and
   * the cursor.
   */
  get cursor(): number | null {
    return this.#cursor;
  }

  get areDue(): boolean {
    return this.#areSuspect || (this.rereads && this.options.clock.nowMs() - this.#readAtMs >= MAX_AGE_MS);
  }

  /** All buckets have the events up to this offset. */
  advance(upTo: number): void {
    this.#cursor = Math.max(this.#cursor ?? 0, upTo);
  }

  /** A commit failed, or found another position. */
  suspect(): void {
    this.#areSuspect = true;
  }

  /** The store is another server, perhaps, whose positions have gone back. */
  suspectFailover(): void {
    if (!this.rereads) return;
    this.#areSuspect = true;
    // Another gateway may have counted again what a failover lost, and a further failover could lose that.
    this.#clearHistories();
  }

  /** Another gateway may have moved them, or they are those of another log. */
  forget(): void {
    this.#areSuspect = true;
    this.#cursor = null;
    this.#clearHistories();
  }

  async read(log: string): Promise<void> {
    const { clock } = this.options;
    const sentAtMs = clock.nowMs();
    this.#areSuspect = false;
    const positions = await Promise.all(this.buckets.map(({ bucket }) => this.store.logPosition(log, bucket)));
    const least = Math.min(...positions);
    let cursor = this.#cursor ?? least;
    for (const [i, position] of positions.entries()) {
      const known = this.buckets[i]!;
      if (position < known.position) cursor = Math.min(cursor, position);
      known.position = position;
    }
    this.#cursor = cursor;
    this.#readAtMs = sentAtMs;
    if (this.#isSuspectAgain()) return;
    this.#history.record(clock.nowMs(), least);
    this.#shortHistory.record(clock.nowMs(), least);
  }

  /**
   * @returns an offset up to which entries may be trimmed, because no failover after the last reading takes a position below it; 0: none
   *     is known
   */
  settledPosition(isFillingUp: boolean): number {
    const history = isFillingUp ? this.#shortHistory : this.#history;
    return history.settledPosition(this.#readAtMs);
  }

  /** The store failed over while they were read. */
  #isSuspectAgain(): boolean {
    return this.#areSuspect;
  }

  #clearHistories(): void {
    this.#history.clear();
    this.#shortHistory.clear();
  }
}

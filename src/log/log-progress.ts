import type { Metrics } from '../counters/metrics.js';
import type { StoreBehindLog } from '../store/store-behind-log.js';
import { type EventLog, LOG_PARTITIONS, type LogPage, type LogStatus, type PartitionStatus } from './event-log.js';
import { decodeEntry } from './log-entry.js';

/**
 * Buckets whose positions are read, a query each: of a partition 16 or all. The position of a bucket without events moves every 10 s, so with
 * more buckets and few events some may seem to wait for as long.
 */
const BUCKETS_READ_MAX = 256;

export interface PartitionProgress extends PartitionStatus {
  /** Events that are not counted yet. */
  readonly waitingEvents: number;
  /** When the oldest of these was accepted, ms since 1970; `null`: none waits. */
  readonly oldestWaitingAtMs: number | null;
}

export interface LogProgressReport extends LogStatus {
  readonly partitions: readonly PartitionProgress[];
}

export interface LogProgressOptions {
  readonly buckets: number;
  readonly metrics: Metrics;
}

/**
 * Measures how far the events of the log are counted, on any gateway, whichever counts them. All buckets of a partition have the events of a
 * page before the next page is read, so what waits is what follows the greatest of their positions, and at most the rest of one page.
 */
export class LogProgress {
  /** By partition: the greatest position of its buckets in the log of this name. */
  #positions: { readonly log: string; readonly greatest: readonly number[] } | null = null;

  constructor(
    private readonly log: Pick<EventLog, 'status' | 'read'>,
    private readonly store: Pick<StoreBehindLog, 'logPosition'>,
    private readonly options: LogProgressOptions,
  ) {}

  /** While the store is down its positions do not move: the last known ones hold. @throws Error while the log is down */
  async measure(): Promise<LogProgressReport> {
    const status = await this.log.status();
    const positions = await this.#readPositions(status.log);
    const requests = status.partitions.map(({ partition }) => ({ partition, after: positions[partition]! }));
    const pages = await this.log.read(requests, 1);
    const partitions = status.partitions.map((one, i) => ({ ...one, ...this.#toWaiting(pages[i]!) }));
    return { ...status, partitions };
  }

  #toWaiting({ entries, eventsLeft }: LogPage): Pick<PartitionProgress, 'waitingEvents' | 'oldestWaitingAtMs'> {
    const waitingEvents = entries.reduce((sum, { events }) => sum + events, eventsLeft);
    const [oldest] = entries;
    if (oldest === undefined) return { waitingEvents, oldestWaitingAtMs: null };
    return { waitingEvents, oldestWaitingAtMs: decodeEntry(oldest.payload, this.options.metrics).acceptedAtMs };
  }

  async #readPositions(log: string): Promise<readonly number[]> {
    const greatest = new Array<number>(LOG_PARTITIONS).fill(0);
    const buckets = [...Array(Math.min(this.options.buckets, BUCKETS_READ_MAX)).keys()];
    try {
      const positions = await Promise.all(buckets.map((bucket) => this.store.logPosition(log, bucket)));
      for (const [bucket, position] of positions.entries()) {
        const partition = bucket % LOG_PARTITIONS;
        greatest[partition] = Math.max(greatest[partition]!, position);
      }
      this.#positions = { log, greatest };
    } catch {
      // Reported elsewhere.
    }
    return this.#positions?.log === log ? this.#positions.greatest : greatest;
  }
}

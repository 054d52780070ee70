import { type Observable, Subject } from 'rxjs';
import type { Clock, Timer } from '../common/clock.js';
import type { ClosingFlag } from '../common/closing-flag.js';
import type { Metrics } from '../counters/metrics.js';
import type { RemoteToggle } from '../counters/replication/delta.js';
import type { ChangeStore } from '../store/change-store.js';
import { Lease } from '../store/lease.js';
import type { StoreBehindLog } from '../store/store-behind-log.js';
import type { EventLog } from './event-log.js';
import { PageReads } from './page-reads.js';
import { type CommittedEvents, listChangedToggles } from './changed-toggles.js';
import {
  PartitionReader,
  PositionMoved,
  READER_RULES,
  type ReaderListener,
  type ReaderRules,
} from './partition-reader.js';

const FILL_CHECK_MS = 5_000;
/** All readers fail in each turn while a value is damaged. */
const WARNINGS_EVERY_MS = 60_000;
/** A log that is fuller than this is trimmed sooner: what is kept for a failover must not take the room of new events. */
const FILL_MAX = 0.5;

/** The methods of the store behind the log that counting its events needs. */
export interface CountingStore extends Pick<
  StoreBehindLog,
  'commit' | 'logPosition' | 'replayWindowMs' | 'reconnected' | 'available'
> {
  readonly changeStore: Pick<ChangeStore, 'acquireLease'>;
}

export interface AggregatorOptions {
  readonly buckets: number;
  /** Those that have buckets. */
  readonly partitions: readonly number[];
  readonly metrics: Metrics;
  /** LOG_MS */
  readonly intervalMs: number;
  /** LOG_KEEP_S */
  readonly keepMs: number;
  readonly clock: Clock;
  /** Wall time, ms since 1970. */
  readonly wallMs: () => number;
  /** From 0 to 1. */
  readonly random: () => number;
  readonly warn: (message: string) => void;
}

/**
 * Counts the events of the log. The gateways of a deployment divide its partitions among them by leases; which one counts does not
 * matter, because a bucket's position in the log moves in the same commit as its counts.
 */
export class Aggregator {
  /** Since boot. */
  readonly stats = {
    appliedEvents: 0,
    /** How often events were trimmed before they were counted, once for each bucket. */
    missedRanges: 0,
  };
  readonly #toggled = new Subject<readonly RemoteToggle[]>();
  /** Toggles that events have changed. Their actors may have connections to any gateway. */
  readonly toggled: Observable<readonly RemoteToggle[]> = this.#toggled;
  readonly #committed = new Subject<CommittedEvents>();
  readonly committed: Observable<CommittedEvents> = this.#committed;
  readonly #readers: readonly PartitionReader[];
  #isFillingUp = false;
  #fillTimer: Timer | null = null;
  #isClosed = false;
  #warnedAtMs = -Infinity;

  constructor(
    private readonly store: CountingStore,
    private readonly log: EventLog,
    private readonly lifecycle: ClosingFlag,
    private readonly options: AggregatorOptions,
    rules: ReaderRules = READER_RULES,
  ) {
    const { clock, partitions } = options;
    const reads = new PageReads(log, clock, rules.pageEventsMax);
    const listener: ReaderListener = {
      applied: (events, committed) => this.#count(events, committed),
      missed: (ranges) => this.#miss(ranges),
      failed: (error) => this.#reportFailure(error),
    };
    const common = {
      ...options,
      isFillingUp: () => this.#isFillingUp,
      hasEnded: () => lifecycle.isClosing,
      listener,
    };
    this.#readers = partitions.map((partition) => {
      const lease = new Lease(store.changeStore, `log:${partition}`, clock);
      return new PartitionReader(store, log, reads, lease, { ...common, partition }, rules);
    });
    store.reconnected.subscribe(() => {
      for (const reader of this.#readers) reader.suspectFailover();
    });
  }

  start(): void {
    for (const reader of this.#readers) reader.start();
    void this.#checkFill();
  }

  /** The age of the oldest event that is not counted, in the partitions that this gateway leads; 0: there is none. */
  get lagSeconds(): number {
    const nowMs = this.options.wallMs();
    const agesMs = this.#readers.flatMap(({ oldestAtMs }) => (oldestAtMs === null ? [] : [nowMs - oldestAtMs]));
    return Math.max(0, ...agesMs) / 1_000;
  }

  /** Resolves when the commits in flight have ended. */
  async close(): Promise<void> {
    this.#isClosed = true;
    this.#fillTimer?.cancel();
    await Promise.all(this.#readers.map((reader) => reader.close()));
    this.#toggled.complete();
  }

  async #checkFill(): Promise<void> {
    if (this.#readers.some(({ isLeading }) => isLeading)) {
      try {
        const { eventsMax, partitions } = await this.log.status();
        const events = partitions.reduce((sum, one) => sum + one.events, 0);
        this.#isFillingUp = events > eventsMax * FILL_MAX;
      } catch {
        // The log is down.
      }
    }
    if (this.#isClosed || this.lifecycle.isClosing) return;
    this.#fillTimer = this.options.clock.after(FILL_CHECK_MS, () => void this.#checkFill());
  }

  #count(events: number, committed: CommittedEvents): void {
    this.stats.appliedEvents += events;
    this.#committed.next(committed);
    const toggles = listChangedToggles(committed.operations, committed.outcomes, this.options.metrics);
    if (toggles.length > 0) this.#toggled.next(toggles);
  }

  #miss(ranges: number): void {
    if (this.stats.missedRanges === 0) {
      this.options.warn(
        'events were trimmed before this store has counted them, because it lost more than LOG_KEEP_S covers; ' +
          'counting goes on with the ones after them (further losses: tallycast_log_missed_ranges_total)',
      );
    }
    this.stats.missedRanges += ranges;
  }

  /** Whether the store or the log is down is reported elsewhere, and a position that moved is no failure. */
  #reportFailure(error: unknown): void {
    if (error instanceof PositionMoved || !this.store.available || !this.log.available) return;
    const nowMs = this.options.clock.nowMs();
    if (nowMs - this.#warnedAtMs < WARNINGS_EVERY_MS) return;
    this.#warnedAtMs = nowMs;
    const message = error instanceof Error ? error.message : String(error);
    this.options.warn(`events of the log could not be counted, and are tried again: ${message}`);
  }
}

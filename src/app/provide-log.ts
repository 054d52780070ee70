import { Logger, type Provider } from '@nestjs/common';
import type { Clock } from '../common/clock.js';
import { ClosingFlag } from '../common/closing-flag.js';
import { AGGREGATOR, CLOCK, DATA_CLOCK, EVENT_INTAKE, EVENT_LOG, STORE } from '../config/injection-tokens.js';
import type { Settings } from '../config/settings.js';
import { DirectIntake } from '../ingest/direct-intake.js';
import type { EventIntake } from '../ingest/event-intake.js';
import { Ingest } from '../ingest/ingest.js';
import { OperationCounts } from '../ingest/operation-counts.js';
import { Aggregator, type CountingStore } from '../log/aggregator.js';
import { type EventLog, LOG_PARTITIONS } from '../log/event-log.js';
import { LogIntake } from '../log/log-intake.js';
import { LogProgress } from '../log/log-progress.js';
import type { CounterStore } from '../store/counter-store.js';
import type { StoreBehindLog } from '../store/store-behind-log.js';
import { openLog } from './open-log.js';

/** The intake of events, and with LOG_URL the log in front of the store. */
export function provideLog(settings: Settings): Provider[] {
  return [
    {
      provide: EVENT_LOG,
      useFactory: (clock: Clock) => openLog(settings, clock, warn),
      inject: [CLOCK],
    },
    {
      provide: LogProgress,
      useFactory: (log: EventLog | null, store: StoreBehindLog) => log && new LogProgress(log, store, settings),
      inject: [EVENT_LOG, STORE],
    },
    {
      provide: AGGREGATOR,
      useFactory: (
        store: CountingStore,
        log: EventLog | null,
        clock: Clock,
        dataClock: Clock,
        lifecycle: ClosingFlag,
      ): Aggregator | null => log && startAggregator(store, log, settings, { clock, dataClock }, lifecycle),
      inject: [STORE, EVENT_LOG, CLOCK, DATA_CLOCK, ClosingFlag],
    },
    {
      provide: EVENT_INTAKE,
      useFactory: (
        ingest: Ingest,
        store: CounterStore,
        log: EventLog | null,
        counts: OperationCounts,
        dataClock: Clock,
        lifecycle: ClosingFlag,
      ): EventIntake => {
        const { buckets, metrics } = settings;
        if (log === null) return new DirectIntake(ingest);
        return new LogIntake(log, store, counts, lifecycle, {
          buckets,
          metrics,
          wallMs: () => dataClock.wallMs(),
          warn,
        });
      },
      inject: [Ingest, STORE, EVENT_LOG, OperationCounts, DATA_CLOCK, ClosingFlag],
    },
  ];
}

/** Counts the events of the log from now on. */
function startAggregator(
  store: CountingStore,
  log: EventLog,
  { buckets, metrics, logIntervalMs: intervalMs, logKeepMs: keepMs }: Settings,
  clocks: { readonly clock: Clock; readonly dataClock: Clock },
  lifecycle: ClosingFlag,
): Aggregator {
  const { clock, dataClock } = clocks;
  const partitions = Array.from({ length: Math.min(LOG_PARTITIONS, buckets) }, (_, partition) => partition);
  const wallMs = (): number => dataClock.wallMs();
  const options = { buckets, metrics, partitions, intervalMs, keepMs, clock, wallMs, random: Math.random, warn };
  const aggregator = new Aggregator(store, log, lifecycle, options);
  aggregator.start();
  return aggregator;
}

function warn(message: string): void {
  new Logger('log').warn(message);
}

import { Inject, Injectable } from '@nestjs/common';
import { AGGREGATOR } from '../config/injection-tokens.js';
import type { Aggregator } from '../log/aggregator.js';
import { Prometheus } from './prometheus.js';

/** Registers the series of counting the events of the log, on a gateway that has one. */
@Injectable()
export class AggregatorInstruments {
  constructor(@Inject(Prometheus) prometheus: Prometheus, @Inject(AGGREGATOR) aggregator: Aggregator | null) {
    if (aggregator === null) return;
    const { stats } = aggregator;
    prometheus.addGauge(
      'tallycast_log_lag_seconds',
      'Age of the oldest event that is not counted, in the partitions that this gateway counts; 0 if it has none.',
      () => aggregator.lagSeconds,
      'max',
    );
    prometheus.addCounter(
      'tallycast_log_applied_total',
      'Events of the log that this gateway has counted, duplicates included.',
      () => stats.appliedEvents,
    );
    prometheus.addCounter(
      'tallycast_log_missed_ranges_total',
      'Buckets in which events were trimmed before they were counted, because the store lost more than LOG_KEEP_S covers.',
      () => stats.missedRanges,
    );
  }
}

import { Inject, Injectable } from '@nestjs/common';
import type { Clock } from '../common/clock.js';
import { ClosingFlag } from '../common/closing-flag.js';
import { CLOCK, EVENT_LOG } from '../config/injection-tokens.js';
import type { EventLog } from '../log/event-log.js';
import { LogProgress, type LogProgressReport } from '../log/log-progress.js';
import { LogWatch } from '../log/log-watch.js';
import { Prometheus } from './prometheus.js';

/** Registers the series of the log, on a gateway that has one. */
@Injectable()
export class LogInstruments {
  constructor(
    @Inject(Prometheus) private readonly prometheus: Prometheus,
    @Inject(EVENT_LOG) log: EventLog | null,
    @Inject(LogProgress) progress: LogProgress | null,
    @Inject(CLOCK) clock: Clock,
    @Inject(ClosingFlag) lifecycle: ClosingFlag,
  ) {
    if (log === null || progress === null) return;
    this.#addGauges(log, new LogWatch(progress, clock, lifecycle));
    this.#addCounters(log);
  }

  /** Every gateway reads the same values from the log, so they are not summed. */
  #addGauges(log: EventLog, watch: LogWatch): void {
    this.prometheus.addGauge(
      'tallycast_log_up',
      '1 while the log responds, 0 while it is down. With several workers: the least.',
      () => (log.available && watch.last !== null ? 1 : 0),
      'min',
    );
    const gauge = (name: string, help: string, read: (report: LogProgressReport) => number): void =>
      this.prometheus.addGauge(name, help, () => (watch.last === null ? NaN : read(watch.last)), 'max');
    gauge(
      'tallycast_log_events',
      'Events in the log, counted ones that are kept for a while included; NaN while it is down. All gateways report the same.',
      ({ partitions }) => partitions.reduce((sum, { events }) => sum + events, 0),
    );
    gauge(
      'tallycast_log_waiting_events',
      'Events in the log that are not counted yet; NaN while it is down. All gateways report the same.',
      ({ partitions }) => partitions.reduce((sum, { waitingEvents }) => sum + waitingEvents, 0),
    );
    gauge(
      'tallycast_log_dead_letters',
      'Events that cannot be counted and wait for tallycast log retry; NaN while the log is down. All gateways report the same.',
      ({ partitions }) => partitions.reduce((sum, { deadLetters }) => sum + deadLetters, 0),
    );
  }

  #addCounters(log: EventLog): void {
    this.prometheus.addCounter(
      'tallycast_log_appended_total',
      'Events that this gateway has appended to the log.',
      () => log.stats.appendedEvents,
    );
    this.prometheus.addCounter(
      'tallycast_log_dead_total',
      'Events that this gateway could not count and has kept as dead letters.',
      () => log.stats.deadLetters,
    );
    this.prometheus.addCounter(
      'tallycast_log_dead_dropped_total',
      'Dead letters that were dropped because there were too many: these events are lost.',
      () => log.stats.droppedDeadLetters,
    );
  }
}

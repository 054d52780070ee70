import { Inject, Injectable } from '@nestjs/common';
import { SINKS } from '../config/injection-tokens.js';
import type { SinkStatus } from '../sinks/feeder.js';
import type { Sinks } from '../sinks/start-sinks.js';
import { type Aggregator, Prometheus } from './prometheus.js';

/** Registers the series of the sinks, on a gateway that has some. The state of a sink is known to the gateway that feeds it. */
@Injectable()
export class SinkInstruments {
  constructor(
    @Inject(Prometheus) private readonly prometheus: Prometheus,
    @Inject(SINKS) private readonly sinks: Sinks,
  ) {
    if (sinks.feeders.length === 0) return;
    this.#addGauges();
    this.#addDead();
    this.#addCounters();
    this.#addDrift();
  }

  #addGauges(): void {
    this.#gauge(
      'tallycast_sink_up',
      '1 if the last write to the sink succeeded, 0 if not. Only on the gateway that feeds it.',
      ({ isUp }) => (isUp ? 1 : 0),
      'min',
    );
    this.#gauge(
      'tallycast_sink_lag_seconds',
      'Time since the sink last had all counts. Only on the gateway that feeds it.',
      ({ lagSeconds }) => lagSeconds,
      'max',
    );
    this.#gauge(
      'tallycast_sink_halted',
      'Buckets that are not written, because the sink has changes that the store lacks. Only on the gateway that feeds it.',
      ({ haltedBuckets }) => haltedBuckets,
      'sum',
    );
  }

  /** Only for sinks that reject single rows. */
  #addDead(): void {
    const readAll = (): [{ sink: string }, number][] =>
      this.#statuses().flatMap(({ name, isFed, deadRows }) =>
        isFed && deadRows !== null ? [[{ sink: name }, deadRows]] : [],
      );
    this.prometheus.addLabeledGauge(
      'tallycast_sink_dead',
      'Posts whose newest row the database rejected. Only on the gateway that feeds it.',
      ['sink'],
      readAll,
    );
    this.#counter(
      'tallycast_sink_rejections_total',
      'Rows that the database rejected, counted each time.',
      ({ rejections }) => rejections,
    );
  }

  #addCounters(): void {
    this.#counter(
      'tallycast_sink_full_syncs_total',
      'Full syncs of buckets: writes of all their posts.',
      ({ fullSyncs }) => fullSyncs,
    );
    this.#counter(
      'tallycast_sink_rows_total',
      'Posts written to the sink, even if it had them already.',
      ({ postsWritten }) => postsWritten,
    );
  }

  /** Only for sinks that can be compared with the store. */
  #addDrift(): void {
    type Sample = [labels: Record<'sink' | 'arm' | 'metric', string>, value: number];
    const readAll = (): Sample[] =>
      this.sinks.audits.flatMap(({ sinkName, figures }) =>
        figures.map(({ arm, metric, count }): Sample => [{ sink: sinkName, arm, metric }, count]),
      );
    this.prometheus.addLabeledGauge(
      'tallycast_drift',
      'Differences between the sink and the store that the last pass of the audit found. Only on the gateway that feeds it.',
      ['sink', 'arm', 'metric'],
      readAll,
    );
  }

  #gauge(name: string, help: string, read: (status: SinkStatus) => number, aggregator: Aggregator): void {
    const readAll = (): [{ sink: string }, number][] =>
      this.#statuses()
        .filter(({ isFed }) => isFed)
        .map((status) => [{ sink: status.name }, read(status)]);
    this.prometheus.addLabeledGauge(name, help, ['sink'], readAll, aggregator);
  }

  /** @param read `null`: the sink has no such figure */
  #counter(name: string, help: string, read: (status: SinkStatus) => number | null): void {
    this.prometheus.addLabeledCounter(name, help, ['sink'], () =>
      this.#statuses().flatMap((status): [{ sink: string }, number][] => {
        const value = read(status);
        return value === null ? [] : [[{ sink: status.name }, value]];
      }),
    );
  }

  #statuses(): SinkStatus[] {
    return this.sinks.feeders.map(({ status }) => status);
  }
}

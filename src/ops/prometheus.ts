import { Injectable } from '@nestjs/common';
import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from 'prom-client';

/** How often the event loop measures its own delay. prom-client's default of 10 ms takes 1 % of a core. */
const LOOP_DELAY_PRECISION_MS = 50;

/** The page of /metrics: of this process, or of all workers. */
export type MetricsPage = () => Promise<string>;

/** How the values of several workers are combined; the default is their sum. */
export type Aggregator = 'sum' | 'min' | 'max';

type Sample = readonly [labels: Readonly<Record<string, string>>, value: number];

/** The registry of Prometheus series. All but histograms are read from their owners when /metrics is requested. */
@Injectable()
export class Prometheus {
  readonly registry = new Registry();

  constructor() {
    // Event-loop delay, CPU, memory and file descriptors of the process.
    collectDefaultMetrics({ register: this.registry, eventLoopMonitoringPrecision: LOOP_DELAY_PRECISION_MS });
  }

  addHistogram(name: string, help: string, buckets: number[]): Histogram {
    return new Histogram({ name, help, buckets, registers: [this.registry] });
  }

  addCounter(name: string, help: string, read: () => number): void {
    this.addLabeledCounter(name, help, [], () => [[{}, read()]]);
  }

  addLabeledCounter(name: string, help: string, labelNames: string[], read: () => Iterable<Sample>): void {
    new Counter({
      name,
      help,
      labelNames,
      registers: [this.registry],
      collect() {
        this.reset();
        for (const [labels, value] of read()) this.inc(labels, value);
      },
    });
  }

  addGauge(name: string, help: string, read: () => number, aggregator: Aggregator = 'sum'): void {
    this.addLabeledGauge(name, help, [], () => [[{}, read()]], aggregator);
  }

  addLabeledGauge(
    name: string,
    help: string,
    labelNames: string[],
    read: () => Iterable<Sample>,
    aggregator: Aggregator = 'sum',
  ): void {
    new Gauge({
      name,
      help,
      labelNames,
      aggregator,
      registers: [this.registry],
      collect() {
        // Labels that are not read any more have no value.
        this.reset();
        for (const [labels, value] of read()) this.set(labels, value);
      },
    });
  }
}

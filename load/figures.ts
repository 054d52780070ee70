import type { Histogram } from 'node:perf_hooks';
import type { Load } from './arguments.js';
import type { Second } from './messages.js';
import { createLatencyHistogram } from './meter.js';

/** Quantiles in ms; null without samples. */
export interface Quantiles {
  readonly samples: number;
  readonly p50: number | null;
  readonly p90: number | null;
  readonly p99: number | null;
  readonly p999: number | null;
  readonly max: number | null;
}

export interface Distribution extends Quantiles {
  /** Percentiles and their values: each step halves the remaining share, down to the last sample. */
  readonly curve: readonly (readonly [percent: number, ms: number])[];
}

/** One second of all threads. */
export interface Row {
  readonly second: number;
  readonly due: number;
  readonly acknowledged: number;
  readonly shed: number;
  readonly duplicates: number;
  readonly frames: number;
  readonly bytes: number;
  readonly errors: number;
  readonly toAnswer: Quantiles;
  readonly toScreen: Quantiles;
  readonly lagMs: number;
}

/** Figures of the whole run. Rates are means of the whole seconds at the full rate; null if there was none. */
export interface Summary {
  readonly steadySeconds: number;
  readonly offeredPerS: number | null;
  readonly acknowledgedPerS: number | null;
  readonly framesPerS: number | null;
  readonly bytesPerS: number | null;
  /** Includes the ramp and the time after the schedule's end. */
  readonly acknowledged: number;
  readonly shed: number;
  readonly duplicates: number;
  readonly frames: number;
  readonly bytes: number;
  readonly errors: Readonly<Record<string, number>>;
  /** From the end of the ramp on, acknowledgements after the schedule's end included. */
  readonly toAnswer: Distribution;
  readonly toScreen: Distribution;
  /** The longest event-loop delay of a thread of this program. */
  readonly lagMaxMs: number;
}

/** Merges the seconds of the threads. */
export class Figures {
  readonly rows: Row[] = [];
  readonly #partialSeconds = new Map<number, Second[]>();
  readonly #errors = new Map<string, number>();
  readonly #toAnswer = createLatencyHistogram();
  readonly #toScreen = createLatencyHistogram();

  constructor(private readonly load: Load) {}

  /** @returns the row once all threads have reported this second, else null */
  add(second: Second): Row | null {
    for (const [code, count] of second.errors) this.#errors.set(code, (this.#errors.get(code) ?? 0) + count);
    if (second.at >= this.load.rampS) {
      this.#toAnswer.add(second.toAnswer);
      this.#toScreen.add(second.toScreen);
    }
    const seconds = this.#partialSeconds.get(second.at) ?? [];
    seconds.push(second);
    this.#partialSeconds.set(second.at, seconds);
    if (seconds.length < this.load.threads) return null;
    this.#partialSeconds.delete(second.at);
    const row = mergeSeconds(seconds);
    this.rows.push(row);
    return row;
  }

  /** @param endS end of the schedule, in seconds since the start */
  summarize(endS: number): Summary {
    const { rampS } = this.load;
    const steady = this.rows.filter(({ second }) => second >= rampS && second + 1 <= endS);
    const perS = (name: 'due' | 'acknowledged' | 'frames' | 'bytes'): number | null =>
      steady.length === 0 ? null : Math.round(sum(steady, name) / steady.length);
    return {
      steadySeconds: steady.length,
      offeredPerS: perS('due'),
      acknowledgedPerS: perS('acknowledged'),
      framesPerS: perS('frames'),
      bytesPerS: perS('bytes'),
      acknowledged: sum(this.rows, 'acknowledged'),
      shed: sum(this.rows, 'shed'),
      duplicates: sum(this.rows, 'duplicates'),
      frames: sum(this.rows, 'frames'),
      bytes: sum(this.rows, 'bytes'),
      errors: Object.fromEntries(this.#errors),
      toAnswer: distribution(this.#toAnswer),
      toScreen: distribution(this.#toScreen),
      lagMaxMs: Math.max(0, ...this.rows.map(({ lagMs }) => lagMs)),
    };
  }
}

function mergeSeconds(seconds: readonly Second[]): Row {
  const merged = (name: 'toAnswer' | 'toScreen'): Quantiles => {
    const all = createLatencyHistogram();
    for (const second of seconds) all.add(second[name]);
    return quantiles(all);
  };
  return {
    second: seconds[0]!.at,
    due: sum(seconds, 'due'),
    acknowledged: sum(seconds, 'acknowledged'),
    shed: sum(seconds, 'shed'),
    duplicates: sum(seconds, 'duplicates'),
    frames: sum(seconds, 'frames'),
    bytes: sum(seconds, 'bytes'),
    errors: seconds.flatMap(({ errors }) => errors).reduce((total, [, count]) => total + count, 0),
    toAnswer: merged('toAnswer'),
    toScreen: merged('toScreen'),
    lagMs: Math.max(...seconds.map(({ lagMs }) => lagMs)),
  };
}

function sum<Name extends string>(list: readonly Readonly<Record<Name, number>>[], name: Name): number {
  return list.reduce((total, { [name]: value }) => total + value, 0);
}

function quantiles(histogram: Histogram): Quantiles {
  const samples = histogram.count;
  const at = (percent: number): number | null => (samples === 0 ? null : histogram.percentile(percent) / 1_000);
  return {
    samples,
    p50: at(50),
    p90: at(90),
    p99: at(99),
    p999: at(99.9),
    max: samples === 0 ? null : histogram.max / 1_000,
  };
}

function distribution(histogram: Histogram): Distribution {
  const curve = [...histogram.percentiles].map(([percent, us]) => [percent, us / 1_000] as const);
  return { ...quantiles(histogram), curve: histogram.count === 0 ? [] : curve };
}

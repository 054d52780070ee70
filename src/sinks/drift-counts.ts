import type { Metrics } from '../counters/metrics.js';
import type { AuditStep } from './audit-arms.js';
import type { Drift, RowsDrift } from './audit-checks.js';

/** Counts the drift that one arm of an audit finds, by metric. */
export class DriftCounts {
  #last: ReadonlyMap<string, number> = new Map();
  #current = new Map<string, number>();
  /** Whether drift was found in the last pass or in this one. */
  #isKnown = false;

  constructor(private readonly metrics: Metrics) {}

  /** @returns drift to warn of: the first that is found after a pass without any */
  add({ drift, endsPass }: AuditStep): Drift | null {
    for (const one of drift) {
      for (const metric of this.#metricsOf(one)) this.#current.set(metric, (this.#current.get(metric) ?? 0) + 1);
    }
    const news = this.#isKnown ? undefined : drift[0];
    if (drift.length > 0) this.#isKnown = true;
    if (endsPass) {
      this.#isKnown = this.#current.size > 0;
      this.#last = this.#current;
      this.#current = new Map();
    }
    return news ?? null;
  }

  /** How much the last pass found, or this one if that is more already. */
  count(metric: string): number {
    return Math.max(this.#last.get(metric) ?? 0, this.#current.get(metric) ?? 0);
  }

  #metricsOf(drift: Drift): readonly string[] {
    return drift.arm === 'sums' ? [drift.metric] : this.#differing(drift);
  }

  /** A row that is missing, or has another version alone, counts for every metric. */
  #differing({ store, sink }: RowsDrift): readonly string[] {
    const all = this.metrics.list;
    const differing = all.filter(({ index }) => store.totals[index] !== sink?.totals[index]);
    return (differing.length > 0 ? differing : all).map(({ name }) => name);
  }
}

/** Says what differs, for a log. */
export function describeDrift(drift: Drift, metrics: Metrics): string {
  if (drift.arm === 'sums') {
    const { bucket, metric, difference } = drift;
    return `the rows of bucket ${bucket} have ${Math.abs(difference)} ${metric} too ${difference > 0 ? 'many' : 'few'}`;
  }
  const { post, store, sink } = drift;
  const describe = (totals: readonly number[]): string =>
    metrics.list.map(({ name, index }) => `${name} ${totals[index] ?? 0}`).join(', ');
  const row = sink === null ? 'no row' : `the row ${describe(sink.totals)} (v ${sink.v})`;
  return `post ${post} has ${row}, and in the store ${describe(store.totals)} (v ${store.v})`;
}

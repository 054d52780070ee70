import type { Metric, Metrics } from '../counters/metrics.js';

/**
 * The metrics of GUEST_METRICS. A guest may only add, because nobody verifies that it is the actor whose toggle it would change.
 * @throws Error whose message goes on from "GUEST_METRICS "
 */
export function findGuestMetrics(names: readonly string[], metrics: Metrics): Metric[] {
  const added = metrics.list.filter(({ kind }) => kind.event === 'add').map(({ name }) => name);
  return names.map((name) => {
    const metric = metrics.byName(name);
    const remedy = `name metrics that are added to: ${added.join(', ')}`;
    if (metric === undefined) throw new Error(`names ${name}, which METRICS does not have; ${remedy}`);
    if (metric.kind.event === 'add') return metric;
    throw new Error(`names ${name}, a ${metric.kind.name}, which needs a token; ${remedy}`);
  });
}

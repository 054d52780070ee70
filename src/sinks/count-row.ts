import type { PostCounts } from '../counters/batch.js';
import type { Metrics } from '../counters/metrics.js';

/** Fields of a row that no metric may hide. */
const FIELDS: ReadonlySet<string> = new Set(['region', 'post', 'e', 'v', 'at']);

/**
 * Writes the counts of posts as receivers get them, a JSON object a post:
 * `{"region":"eu","post":"42","e":"eu.3.k9","v":1042,"likes":808,"views":90211,"at":"2026-11-29T11:32:46.000Z"}`.
 */
export class RowEncoder {
  /** @throws Error if a metric has the name of another field: one line for the operator */
  constructor(
    private readonly region: string,
    private readonly metrics: Metrics,
  ) {
    const hidden = metrics.list.find(({ name }) => FIELDS.has(name));
    if (hidden !== undefined) {
      throw new Error(`METRICS has "${hidden.name}", which is another field of rows: give the metric another name`);
    }
  }

  encode({ post, e, v, totals, updatedAtMs }: PostCounts): string {
    const { region, metrics } = this;
    const counts = Object.fromEntries(metrics.list.map(({ name, index }) => [name, totals[index] ?? 0]));
    const at = updatedAtMs === null ? null : new Date(updatedAtMs).toISOString();
    return JSON.stringify({ region, post, e, v, ...counts, at });
  }
}

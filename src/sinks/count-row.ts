import type { PostCounts } from '../counters/batch.js';
import { type Key64, toInt64 } from '../counters/ids.js';
import type { PostMilestone } from '../counters/milestones.js';
import type { Metrics } from '../counters/metrics.js';

/** The type of webhooks, lines and messages with milestones. */
export const MILESTONE_REACHED = 'milestone.reached';
/** Fields of a row that no metric may hide. */
const FIELDS: ReadonlySet<string> = new Set(['region', 'post', 'e', 'v', 'at']);

/**
 * Writes milestones, and the counts of posts, as receivers get them, a JSON object a post:
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

  /** Without `e`, and with keys in decimal, because numbers in JSON lose digits of them. */
  encodeMilestone({ post, metric, n, actor, session, atMs, ...record }: PostMilestone): string {
    const { region, epoch, v, seq, kind, value, total, missed } = record;
    const winner = { actor: toText(actor), session: toText(session), seq, kind, value, total };
    const name = this.metrics.list[metric]!.name;
    const at = new Date(atMs).toISOString();
    return JSON.stringify({ region, post, metric: name, n, v, at, missed, ...winner, epoch });
  }

  /** A milestone as a line or message among rows: no field of it has the name of one of a row. */
  encodeMilestoneLine(milestone: PostMilestone): string {
    return `{"type":"${MILESTONE_REACHED}","data":${this.encodeMilestone(milestone)}}`;
  }
}

function toText(key: Key64 | null): string | null {
  return key && String(toInt64(key));
}

import type { Milestones, ReachedMilestone } from '../../../counters/milestones.js';

/** Before a post in the table of milestones. Its other keys are buckets: how many milestones each has. */
export const POST_PREFIX = 'post ';

/** The milestones of a post by metric index; `null`: the metric has none. */
export type MilestonesByMetric = (Milestones | null)[];

/** JSON, because milestones are read and written rarely. */
export function encodeMilestones(metrics: MilestonesByMetric): Buffer {
  return Buffer.from(JSON.stringify(metrics));
}

/** @throws Error if the bytes are no milestones: the value is damaged */
export function decodeMilestones(bytes: Uint8Array): MilestonesByMetric {
  const metrics: unknown = JSON.parse(Buffer.from(bytes).toString());
  if (!Array.isArray(metrics) || !metrics.every((one) => one === null || areMilestones(one)))
    throw new RangeError('a record of milestones has another shape');
  return metrics as MilestonesByMetric;
}

function areMilestones(value: unknown): boolean {
  const { armed, reached } = value as { readonly armed?: unknown; readonly reached?: unknown };
  if (!Array.isArray(armed) || !Array.isArray(reached)) return false;
  const isAscending = armed.every((n, i) => Number.isSafeInteger(n) && n > (i === 0 ? 0 : armed[i - 1]));
  return isAscending && reached.every(isRecord);
}

function isRecord(value: Partial<ReachedMilestone> | null): boolean {
  return Number.isSafeInteger(value?.n) && Number.isSafeInteger(value?.total);
}

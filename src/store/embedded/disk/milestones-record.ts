import type { Milestones, ReachedMilestone, SharedMilestones } from '../../../counters/milestones.js';
import type { LmdbTable } from './lmdb-table.js';

/** Before a post in the table of milestones. Its other keys are buckets: how many milestones each has. */
export const POST_PREFIX = 'post ';

/** @returns posts with milestones after this one, as they are on disk, at most `limit` */
export function listMilestonePosts(table: LmdbTable, after: string, limit: number): string[] {
  const first = after === '' ? POST_PREFIX : `${POST_PREFIX}${after}\0`;
  return table.keys(first, 'post!', limit).map((key) => key.slice(POST_PREFIX.length));
}

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
  const { armed, reached, shared } = value as Readonly<Record<'armed' | 'reached' | 'shared', unknown>>;
  if (!Array.isArray(armed) || !Array.isArray(reached)) return false;
  const isAscending = armed.every((n, i) => Number.isSafeInteger(n) && n > (i === 0 ? 0 : armed[i - 1]));
  return isAscending && reached.every(isRecord) && (shared === undefined || isShared(shared));
}

function isShared(value: unknown): boolean {
  const { home, confirmations, starts, forwardedTo } = value as Partial<SharedMilestones>;
  return home !== undefined && [confirmations, starts, forwardedTo].every((list) => Array.isArray(list));
}

function isRecord(value: Partial<ReachedMilestone> | null): boolean {
  return Number.isSafeInteger(value?.n) && Number.isSafeInteger(value?.total);
}

import { type Bucket, computeTotal, type PostState } from './bucket.js';
import { isAtMilestone, reachMilestones } from './milestones.js';
import type { Operation } from './operation.js';

const NO_OPERATION = { actor: null, session: null, seq: 0, kind: 'add', value: 0 } as const;

/** Whether a metric may reach a milestone with these operations, as far as is known before they are applied. */
export function mightReach(bucket: Pick<Bucket, 'milestones' | 'post'>, operations: readonly Operation[]): boolean {
  const { milestones } = bucket;
  if (milestones.armedCount === 0) return false;
  const sums = new Map<string, number>();
  return operations.some(({ post, metric, value }) => {
    const next = milestones.get(post, metric)?.armed[0];
    if (next === undefined || value <= 0) return false;
    const name = `${metric} ${post}`;
    const sum = (sums.get(name) ?? computeTotal(bucket.post(post)?.metrics[metric])) + value;
    sums.set(name, sum);
    return sum >= next;
  });
}

/**
 * Records what totals have passed by no operation: a merge or a repair names nobody. To be called when the post is written, after `apply` has
 * recorded what operations have reached.
 */
export function recordMissed(
  { milestones, incarnation, changedPosts }: Bucket,
  post: string,
  { v, updatedAtMs, metrics }: PostState,
): void {
  for (const [metric, state] of metrics.entries()) {
    const before = milestones.get(post, metric);
    const total = computeTotal(state);
    if (before === undefined || !isAtMilestone(before, total)) continue;
    const { region, epoch } = incarnation;
    const times = { atMs: updatedAtMs, recordedAtMs: milestones.nowMs() };
    const crossing = { ...NO_OPERATION, total, v, region, epoch, ...times };
    const after = reachMilestones(before, crossing);
    if (after === null) continue;
    milestones.set(post, metric, after.milestones, after.reached);
    changedPosts?.recordMilestones(post, metric, after.reached);
  }
}

import { type Bucket, computeTotal, type PostState } from './bucket.js';
import { type Crossing, isAtMilestone, type ReachedMilestone, reachMilestones } from './milestones.js';
import type { Operation } from './operation.js';

const NO_OPERATION = { actor: null, session: null, seq: 0, kind: 'add', value: 0 } as const;

/** Whether a metric may reach a milestone with these operations, as far as is known before they are applied. */
export function mightReach<B extends Pick<Bucket, 'milestones' | 'post'>>(
  bucket: B,
  operations: readonly Operation[],
  isMeant: (bucket: B, post: string, metric: number) => boolean = () => true,
): boolean {
  const { milestones } = bucket;
  if (milestones.armedCount === 0) return false;
  const sums = new Map<string, number>();
  return operations.some(({ post, metric, value }) => {
    const next = milestones.get(post, metric)?.armed[0];
    if (next === undefined || value <= 0 || !isMeant(bucket, post, metric)) return false;
    const name = `${metric} ${post}`;
    const sum = (sums.get(name) ?? computeTotal(bucket.post(post)?.metrics[metric])) + value;
    sums.set(name, sum);
    return sum >= next;
  });
}

/** Whether this region may not decide about the milestones of the metric now. */
export function isUndecided({ homes }: Pick<Bucket, 'homes'>, post: string, metric: number): boolean {
  return homes.decidable(post, metric) === undefined;
}

/** An operation, or a change by another region. */
export type Change = Pick<Crossing, 'actor' | 'session' | 'seq' | 'kind' | 'value'>;

/**
 * Records what the total of a metric has reached. To be called after each change that may be named.
 * @param about the version of the post's counts that include the change, and its time
 * @returns the new records
 */
export function recordReached(
  bucket: Bucket,
  post: string,
  metric: number,
  { metrics }: Pick<PostState, 'metrics'>,
  { v, atMs }: { readonly v: number; readonly atMs: number },
  { actor, session, seq, kind, value }: Change,
  reach = reachMilestones,
): readonly ReachedMilestone[] {
  const { milestones, homes, incarnation, changedPosts } = bucket;
  const before = homes.decidable(post, metric);
  if (before === undefined) return [];
  const total = computeTotal(metrics[metric]);
  if (!isAtMilestone(before, total)) return [];
  const { region, epoch } = incarnation;
  const change = { actor, session, seq, kind, value };
  const times = { atMs, recordedAtMs: milestones.nowMs() };
  const after = reach(before, { ...change, total, v, region, epoch, ...times });
  if (after === null) return [];
  milestones.set(post, metric, after.milestones, after.reached);
  changedPosts?.recordMilestones(post, metric, after.reached);
  return after.reached;
}

/**
 * Records what the total of a metric has passed by no operation: a merge or a repair names nobody. To be called when the post is written,
 * after `apply` has recorded what operations have reached.
 */
export function recordMissed(bucket: Bucket, post: string, state: PostState, metric: number): void {
  recordReached(bucket, post, metric, state, { v: state.v, atMs: state.updatedAtMs }, NO_OPERATION);
}

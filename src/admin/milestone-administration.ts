import type { ArmRejection } from '../counters/milestones.js';
import type { Metric } from '../counters/metrics.js';
import { ProtocolError } from '../protocol/errors.js';
import type { MilestoneStore, MilestonesView } from '../store/milestone-store.js';

/** The milestones of a metric of a post that are armed, after one was. */
interface Armed {
  /** Whether it was not armed before. */
  readonly isNew: boolean;
  readonly armed: readonly number[];
}

/** Milestones for operators. */
export class MilestoneAdministration {
  constructor(
    private readonly store: MilestoneStore,
    /** The URLs of other regions. */
    private readonly peers: readonly unknown[],
  ) {}

  /** @throws ProtocolError */
  async arm(post: string, metric: Metric, n: number): Promise<Armed> {
    if (this.peers.length > 0) {
      throw new ProtocolError(
        'BAD_REQUEST',
        'with PEERS milestones are not supported yet: arm them in a deployment of one region',
      );
    }
    const result = await rejectUnavailable(this.store.arm(post, metric.index, n));
    if (result.kind === 'armed') return result;
    throw new ProtocolError('CONFLICT', explain(result, metric.name, n));
  }

  /** @throws ProtocolError */
  async disarm(post: string, metric: Metric, n: number): Promise<void> {
    await rejectUnavailable(this.store.disarm(post, metric.index, n));
  }

  /** @throws ProtocolError */
  read(post: string, metric: Metric): Promise<MilestonesView> {
    return rejectUnavailable(this.store.read(post, metric.index));
  }
}

function explain(rejection: ArmRejection, metric: string, n: number): string {
  if (rejection.kind === 'passed') return `at must be above ${rejection.total}, the count of ${metric} now`;
  if (rejection.kind === 'reached')
    return `at must be another number: ${metric} reached ${n} before, and its record stays`;
  if (rejection.kind === 'elsewhere')
    return `region ${rejection.home} decides about ${metric} of this post: arm it there, or take over with home`;
  if (rejection.kind === 'mode')
    return `${metric} of this post has milestones in mode ${rejection.mode}: disarm them first`;
  const { of, max } = rejection;
  if (of === 'armed')
    return `at most ${max} milestones of ${metric} of this post are armed at a time: disarm one first`;
  if (of === 'bucket')
    return `at most ${max} milestones of a bucket are armed at a time: disarm one of this bucket first`;
  return `at most ${max} milestones of ${metric} of this post are armed or reached, and records stay: disarm one first, or use another post`;
}

/** @throws ProtocolError UNAVAILABLE if the store fails. The call may be repeated: it has the same effect. */
async function rejectUnavailable<T>(call: Promise<T>): Promise<T> {
  try {
    return await call;
  } catch {
    throw new ProtocolError('UNAVAILABLE', 'the store did not respond in time; retry');
  }
}

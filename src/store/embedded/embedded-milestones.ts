import { bucketOf } from '../../counters/bucket-of.js';
import { computeTotal } from '../../counters/bucket.js';
import { arm, type ArmResult, disarm, NO_MILESTONES } from '../../counters/milestones.js';
import type { MilestoneStore, MilestonesView } from '../milestone-store.js';
import type { GroupCommit } from './group-commit.js';

/** Milestones of the embedded store. */
export class EmbeddedMilestones implements MilestoneStore {
  constructor(
    private readonly commits: GroupCommit,
    private readonly buckets: number,
    readonly reached: MilestoneStore['reached'],
  ) {}

  arm(post: string, metric: number, n: number): Promise<ArmResult> {
    return this.commits.enqueueWrite((records) => {
      const bucket = records.openBucket(bucketOf(post, this.buckets));
      const before = bucket.milestones.get(post, metric) ?? NO_MILESTONES;
      const total = computeTotal(bucket.post(post)?.metrics[metric]);
      const { result, milestones } = arm(before, n, total, bucket.milestones.armedCount);
      if (milestones !== null) bucket.milestones.set(post, metric, milestones, []);
      return result;
    });
  }

  disarm(post: string, metric: number, n: number): Promise<boolean> {
    return this.commits.enqueueWrite((records) => {
      const bucket = records.openBucket(bucketOf(post, this.buckets));
      const milestones = disarm(bucket.milestones.get(post, metric) ?? NO_MILESTONES, n);
      if (milestones !== null) bucket.milestones.set(post, metric, milestones, []);
      return milestones !== null;
    });
  }

  read(post: string, metric: number): Promise<MilestonesView> {
    return this.commits.readCommitted((records) => {
      const { armed, reached } = records.readCommittedPost(post).milestones.get(metric) ?? NO_MILESTONES;
      const views = reached.map((one) => ({ ...one, final: true }));
      return { armed, reached: views.sort((a, b) => a.n - b.n) };
    });
  }
}

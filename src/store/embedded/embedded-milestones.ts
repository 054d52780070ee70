import { bucketOf } from '../../counters/bucket-of.js';
import { computeTotal } from '../../counters/bucket.js';
import { arm, type ArmOptions, type ArmResult, disarm, NO_MILESTONES } from '../../counters/milestones.js';
import type { Operation } from '../../counters/operation.js';
import type { MilestoneStore, MilestonesView } from '../milestone-store.js';
import type { EmbeddedBucket } from './embedded-bucket.js';
import type { GroupCommit } from './group-commit.js';
import type { RecordCache } from './record-cache.js';

/** Milestones of the embedded store. */
export class EmbeddedMilestones implements MilestoneStore {
  constructor(
    private readonly commits: GroupCommit,
    private readonly buckets: number,
    readonly reached: MilestoneStore['reached'],
  ) {}

  arm(post: string, metric: number, n: number, options?: ArmOptions): Promise<ArmResult> {
    return this.commits.enqueueWrite((records) => {
      const bucket = this.#openBucket(records, post);
      if (options !== undefined) return armShared(bucket, post, metric, n, options);
      const before = bucket.milestones.get(post, metric) ?? NO_MILESTONES;
      const total = computeTotal(bucket.post(post)?.metrics[metric]);
      const { result, milestones } = arm(before, n, total, bucket.milestones.armedCount);
      if (milestones !== null) bucket.milestones.set(post, metric, milestones, []);
      return result;
    });
  }

  disarm(post: string, metric: number, n: number): Promise<boolean> {
    return this.commits.enqueueWrite((records) => {
      const bucket = this.#openBucket(records, post);
      if (bucket.isReplicated) return bucket.homes.disarm(post, metric, n, bucket.changes.now(0));
      const milestones = disarm(bucket.milestones.get(post, metric) ?? NO_MILESTONES, n);
      if (milestones !== null) bucket.milestones.set(post, metric, milestones, []);
      return milestones !== null;
    });
  }

  read(post: string, metric: number): Promise<MilestonesView> {
    return this.commits.readCommitted((records) => {
      const { armed, reached, shared } = records.readCommittedPost(post).milestones.get(metric) ?? NO_MILESTONES;
      const bucket = this.#openBucket(records, post);
      const views = reached.map((one) => ({ ...one, final: bucket.isFinal(one) }));
      const waitingFor = shared === undefined ? [] : bucket.homes.findUnconfirmed(post, metric);
      return { armed, reached: views.sort((a, b) => a.n - b.n), home: shared?.home ?? null, waitingFor };
    });
  }

  forwardTo(operations: readonly Operation[]): Promise<readonly (string | null)[]> {
    return this.commits.readCommitted((records) =>
      operations.map((operation) => this.#openBucket(records, operation.post).homes.forwardTo(operation)),
    );
  }

  #openBucket(records: RecordCache, post: string): EmbeddedBucket {
    return records.openBucket(bucketOf(post, this.buckets));
  }
}

function armShared(bucket: EmbeddedBucket, post: string, metric: number, n: number, options: ArmOptions): ArmResult {
  const state = bucket.post(post);
  // A post without a record is in no full sync.
  if (state === undefined) bucket.setPost(post, { v: 0, updatedAtMs: 0, metrics: [] });
  return bucket.homes.arm(post, metric, n, options, computeTotal(state?.metrics[metric]), bucket.changes.now(0));
}

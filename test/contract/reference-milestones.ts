import { Subject } from 'rxjs';
import { computeTotal } from '../../src/counters/bucket.js';
import { bucketOf } from '../../src/counters/bucket-of.js';
import { arm, type ArmResult, disarm, MILESTONE_FINAL_MS, NO_MILESTONES } from '../../src/counters/milestones.js';
import type { MilestoneNews, MilestoneStore, MilestonesView } from '../../src/store/milestone-store.js';
import type { MemoryBucket } from './memory-bucket.js';

/** Milestones over buckets in memory: the meaning that every store has to equal. */
export class ReferenceMilestones implements MilestoneStore {
  readonly reached = new Subject<readonly MilestoneNews[]>();

  constructor(
    private readonly buckets: () => readonly MemoryBucket[],
    private readonly isWatched: (post: string) => boolean,
  ) {}

  arm(post: string, metric: number, n: number): Promise<ArmResult> {
    const bucket = this.#bucketOf(post);
    const before = bucket.milestones.get(post, metric) ?? NO_MILESTONES;
    const total = computeTotal(bucket.post(post)?.metrics[metric]);
    const provisionalCount = bucket.changedPosts?.posts.state.provisional.length ?? 0;
    const { result, milestones } = arm(before, n, total, bucket.milestones.armedCount + provisionalCount);
    if (milestones !== null) bucket.milestones.set(post, metric, milestones, []);
    return Promise.resolve(result);
  }

  disarm(post: string, metric: number, n: number): Promise<boolean> {
    const bucket = this.#bucketOf(post);
    const milestones = disarm(bucket.milestones.get(post, metric) ?? NO_MILESTONES, n);
    if (milestones !== null) bucket.milestones.set(post, metric, milestones, []);
    return Promise.resolve(milestones !== null);
  }

  read(post: string, metric: number): Promise<MilestonesView> {
    const { milestones } = this.#bucketOf(post);
    const { armed, reached } = milestones.get(post, metric) ?? NO_MILESTONES;
    const finalUpToMs = milestones.nowMs() - MILESTONE_FINAL_MS;
    const views = reached.map((one) => ({ ...one, final: one.recordedAtMs <= finalUpToMs }));
    return Promise.resolve({ armed, reached: views.sort((a, b) => a.n - b.n) });
  }

  /** To be called after each commit. */
  publish(bucket: MemoryBucket): void {
    const news = bucket.milestones.takeNews().filter(({ post }) => this.isWatched(post));
    if (news.length > 0) this.reached.next(news);
  }

  #bucketOf(post: string): MemoryBucket {
    const buckets = this.buckets();
    return buckets[bucketOf(post, buckets.length)]!;
  }
}

import { Subject } from 'rxjs';
import { computeTotal } from '../../src/counters/bucket.js';
import { bucketOf } from '../../src/counters/bucket-of.js';
import {
  arm,
  type ArmOptions,
  type ArmResult,
  disarm,
  isKnownFinal,
  NO_MILESTONES,
} from '../../src/counters/milestones.js';
import type { MilestoneNews, MilestoneStore, MilestonesView } from '../../src/store/milestone-store.js';
import type { Operation } from '../../src/counters/operation.js';
import type { MemoryBucket } from './memory-bucket.js';

/** Milestones over buckets in memory: the meaning that every store has to equal. */
export class ReferenceMilestones implements MilestoneStore {
  readonly reached = new Subject<readonly MilestoneNews[]>();

  constructor(
    private readonly buckets: () => readonly MemoryBucket[],
    private readonly isWatched: (post: string) => boolean,
  ) {}

  arm(post: string, metric: number, n: number, options?: ArmOptions): Promise<ArmResult> {
    const bucket = this.#bucketOf(post);
    if (options !== undefined) return Promise.resolve(this.#armShared(bucket, post, metric, n, options));
    const before = bucket.milestones.get(post, metric) ?? NO_MILESTONES;
    const total = computeTotal(bucket.post(post)?.metrics[metric]);
    const provisionalCount = bucket.changedPosts?.posts.state.provisional.length ?? 0;
    const { result, milestones } = arm(before, n, total, bucket.milestones.armedCount + provisionalCount);
    if (milestones !== null) bucket.milestones.set(post, metric, milestones, []);
    return Promise.resolve(result);
  }

  disarm(post: string, metric: number, n: number): Promise<boolean> {
    const bucket = this.#bucketOf(post);
    if (bucket.state !== null)
      return Promise.resolve(bucket.homes.disarm(post, metric, n, bucket.changes.now(bucket.milestones.nowMs())));
    const milestones = disarm(bucket.milestones.get(post, metric) ?? NO_MILESTONES, n);
    if (milestones !== null) bucket.milestones.set(post, metric, milestones, []);
    return Promise.resolve(milestones !== null);
  }

  read(post: string, metric: number): Promise<MilestonesView> {
    const { milestones, incarnation, homes } = this.#bucketOf(post);
    const { armed, reached, shared } = milestones.get(post, metric) ?? NO_MILESTONES;
    const views = reached.map((one) => ({
      ...one,
      final: isKnownFinal(one, incarnation.region, milestones),
    }));
    const waitingFor = shared === undefined ? [] : homes.findUnconfirmed(post, metric);
    return Promise.resolve({
      armed,
      reached: views.sort((a, b) => a.n - b.n),
      home: shared?.home ?? null,
      waitingFor,
    });
  }

  forwardTo(operations: readonly Operation[]): Promise<readonly (string | null)[]> {
    return Promise.resolve(operations.map((operation) => this.#bucketOf(operation.post).homes.forwardTo(operation)));
  }

  /** To be called after each commit. */
  publish(bucket: MemoryBucket): void {
    const news = bucket.milestones.takeNews().filter(({ post }) => this.isWatched(post));
    if (news.length > 0) this.reached.next(news);
  }

  #armShared(bucket: MemoryBucket, post: string, metric: number, n: number, options: ArmOptions): ArmResult {
    const state = bucket.post(post);
    if (state === undefined) bucket.setPost(post, { v: 0, updatedAtMs: 0, metrics: [] });
    const stamp = bucket.changes.now(bucket.milestones.nowMs());
    return bucket.homes.arm(post, metric, n, options, computeTotal(state?.metrics[metric]), stamp);
  }

  #bucketOf(post: string): MemoryBucket {
    const buckets = this.buckets();
    return buckets[bucketOf(post, buckets.length)]!;
  }
}

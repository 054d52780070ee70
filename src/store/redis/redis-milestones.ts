import { Subject } from 'rxjs';
import { bucketOf } from '../../counters/bucket-of.js';
import type { ArmResult } from '../../counters/milestones.js';
import type { MilestoneNews, MilestonesView, MilestoneStore } from '../milestone-store.js';
import type { RedisClient } from './client/redis-client.js';
import { decodeArmReply, decodeMilestoneNews, decodeMilestones } from './codec/milestones-decoder.js';
import { buildBucketKeys } from './codec/redis-keys.js';
import type { CounterScriptsOptions } from './counter-scripts.js';
import { Script } from './scripts/script.js';

/** Milestones in Redis. The scripts that change totals record those that are reached. */
export class RedisMilestones implements MilestoneStore {
  readonly reached = new Subject<readonly MilestoneNews[]>();
  readonly #arm = new Script('arm-milestone-1', true);
  readonly #disarm = new Script('disarm-milestone-1');
  readonly #read = new Script('read-milestones-1', true);

  constructor(
    private readonly client: RedisClient,
    private readonly options: CounterScriptsOptions,
  ) {}

  /** Waits for replicas, if the store does. */
  async arm(post: string, metric: number, n: number): Promise<ArmResult> {
    return decodeArmReply((await this.client.write(this.#arm, [this.#key(post)], [post, metric, n])) as Buffer);
  }

  /** Waits for replicas, if the store does. */
  async disarm(post: string, metric: number, n: number): Promise<boolean> {
    return (await this.client.write(this.#disarm, [this.#key(post)], [post, metric, n])) === 1;
  }

  async read(post: string, metric: number): Promise<MilestonesView> {
    const packed = await this.client.query(this.#read, [this.#key(post)], [post, metric]);
    return decodeMilestones(packed as Buffer, this.options.region);
  }

  /** No metric has a home here. */
  forwardTo(operations: readonly unknown[]): Promise<readonly null[]> {
    return Promise.resolve(operations.map(() => null));
  }

  /** @throws Error when the message is not one that a gateway publishes */
  deliver(post: string, message: string): void {
    const news = decodeMilestoneNews(post, message, this.options.metrics);
    if (news.length > 0) this.reached.next(news);
  }

  /** Key of the post's bucket. */
  #key(post: string): string {
    const { buckets, gateway } = this.options;
    return buildBucketKeys(bucketOf(post, buckets), gateway).bucket;
  }
}

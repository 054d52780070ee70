import { Subject } from 'rxjs';
import { bucketOf } from '../../counters/bucket-of.js';
import { computeDefaultStart } from '../../counters/replication/home-rules.js';
import type { ArmOptions, ArmResult } from '../../counters/milestones.js';
import type { MilestoneNews, MilestonesView, MilestoneStore } from '../milestone-store.js';
import type { RedisClient } from './client/redis-client.js';
import type { ScriptArguments } from './client/server.js';
import { HOME_MODES } from './codec/home-modes.js';
import { decodeArmReply, decodeMilestoneNews, decodeMilestones } from './codec/milestones-decoder.js';
import { buildBucketKeys } from './codec/redis-keys.js';
import { type CounterScriptsOptions, toScriptRegion } from './counter-scripts.js';
import { encodeNewIncarnation } from './scripts/incarnation-argument.js';
import { formatRegions } from './scripts/region-names.js';
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
  async arm(post: string, metric: number, n: number, options?: ArmOptions): Promise<ArmResult> {
    const { mode, from = computeDefaultStart(n), takesOver = false } = options ?? {};
    const about = [mode === undefined ? -1 : HOME_MODES.indexOf(mode), from, takesOver ? 1 : 0];
    return decodeArmReply((await this.#write(this.#arm, post, [post, metric, n, ...about])) as Buffer);
  }

  /** Waits for replicas, if the store does. */
  async disarm(post: string, metric: number, n: number): Promise<boolean> {
    return (await this.#write(this.#disarm, post, [post, metric, n])) === 1;
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

  /** Passes what a script needs that may start an incarnation, before the other arguments. */
  #write(script: Script, post: string, args: ScriptArguments): Promise<unknown> {
    const { options } = this;
    const start = [encodeNewIncarnation(options), toScriptRegion(options), formatRegions(options)];
    return this.client.write(script, [this.#key(post)], [...start, ...args]);
  }

  /** Key of the post's bucket. */
  #key(post: string): string {
    const { buckets, gateway } = this.options;
    return buildBucketKeys(bucketOf(post, buckets), gateway).bucket;
  }
}

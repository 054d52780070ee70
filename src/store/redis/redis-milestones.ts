import { Subject } from 'rxjs';
import { groupBy } from '../../common/grouping.js';
import { bucketOf } from '../../counters/bucket-of.js';
import { computeDefaultStart } from '../../counters/replication/home-rules.js';
import type { ArmOptions, ArmResult } from '../../counters/milestones.js';
import type { Operation } from '../../counters/operation.js';
import type { MilestoneNews, MilestonesView, MilestoneStore } from '../milestone-store.js';
import type { RedisClient } from './client/redis-client.js';
import type { ScriptArguments } from './client/server.js';
import { HOME_MODES } from './codec/home-modes.js';
import { decodeArmReply, decodeMilestoneNews, decodeMilestones } from './codec/milestones-decoder.js';
import { toDecimalKey } from './codec/key64-decimal.js';
import { buildBucketKeys } from './codec/redis-keys.js';
import { type CounterScriptsOptions, toScriptRegion } from './counter-scripts.js';
import { encodeNewIncarnation } from './scripts/incarnation-argument.js';
import { formatOptions } from './scripts/other-options.js';
import { formatRegions } from './scripts/region-names.js';
import { Script } from './scripts/script.js';

/** Milestones in Redis. The scripts that change totals record those that are reached. */
export class RedisMilestones implements MilestoneStore {
  readonly reached = new Subject<readonly MilestoneNews[]>();
  readonly #arm = new Script('arm-milestone-1', true);
  readonly #disarm = new Script('disarm-milestone-1');
  readonly #read = new Script('read-milestones-1', true);
  readonly #readForwardTargets = new Script('read-forward-targets-1');

  constructor(
    private readonly client: RedisClient,
    private readonly options: CounterScriptsOptions,
  ) {}

  /** Waits for replicas, if the store does. */
  async arm(post: string, metric: number, n: number, options?: ArmOptions): Promise<ArmResult> {
    const { mode, from = computeDefaultStart(n), takesOver = false } = options ?? {};
    const others = formatOptions(this.options.metrics);
    const about = [mode === undefined ? -1 : HOME_MODES.indexOf(mode), from, takesOver ? 1 : 0, others];
    return decodeArmReply((await this.#write(this.#arm, post, [post, metric, n, ...about])) as Buffer);
  }

  /** Waits for replicas, if the store does. */
  async disarm(post: string, metric: number, n: number): Promise<boolean> {
    return (await this.#write(this.#disarm, post, [post, metric, n])) === 1;
  }

  async read(post: string, metric: number): Promise<MilestonesView> {
    const packed = await this.client.query(this.#read, [this.#key(post)], [...this.#start, post, metric]);
    return decodeMilestones(packed as Buffer, this.options.region);
  }

  /** One call a bucket. */
  async forwardTo(operations: readonly Operation[]): Promise<readonly (string | null)[]> {
    if (!this.options.hasPeers) return operations.map(() => null);
    const targets = new Map<Operation, string | null>();
    const groups = groupBy(operations, ({ post }) => this.#key(post));
    await Promise.all([...groups].map(([key, some]) => this.#readTargets(key, some, targets)));
    return operations.map((operation) => targets.get(operation)!);
  }

  async #readTargets(key: string, operations: readonly Operation[], targets: Map<Operation, string | null>) {
    const { otherOptions } = this.options.metrics;
    const args = operations.map(({ post, metric, kind, value, session, seq, isForwarded, hops = 1 }) => {
      const others = kind === 'set' && value === 1 ? otherOptions[metric]! : [];
      return [
        post,
        metric,
        session === null ? '' : toDecimalKey(session),
        seq,
        isForwarded === true ? hops : 0,
        others,
      ];
    });
    const start = [toScriptRegion(this.options), formatRegions(this.options)];
    const found = await this.client.query(this.#readForwardTargets, [key], [...start, JSON.stringify(args)]);
    for (const [i, operation] of operations.entries()) targets.set(operation, (found as string[])[i] || null);
  }

  /** @throws Error when the message is not one that a gateway publishes */
  deliver(post: string, message: string): void {
    const news = decodeMilestoneNews(post, message, this.options.metrics);
    if (news.length > 0) this.reached.next(news);
  }

  /** Passes what a script needs that may start an incarnation, before the other arguments. */
  #write(script: Script, post: string, args: ScriptArguments): Promise<unknown> {
    return this.client.write(script, [this.#key(post)], [...this.#start, ...args]);
  }

  get #start(): (string | number)[] {
    const { options } = this;
    return [encodeNewIncarnation(options), toScriptRegion(options), formatRegions(options)];
  }

  /** Key of the post's bucket. */
  #key(post: string): string {
    const { buckets, gateway } = this.options;
    return buildBucketKeys(bucketOf(post, buckets), gateway).bucket;
  }
}

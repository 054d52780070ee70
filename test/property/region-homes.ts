import { expect } from '@jest/globals';
import type { Batch } from '../../src/counters/batch.js';
import { computeTotal } from '../../src/counters/bucket.js';
import { bucketOf } from '../../src/counters/bucket-of.js';
import { COUNT_MAX } from '../../src/counters/pn-counter.js';
import type { ArmOptions } from '../../src/counters/milestones.js';
import { HOPS_MAX } from '../../src/counters/replication/forwarded-operation.js';
import type { MilestonesView } from '../../src/store/milestone-store.js';
import type { Random } from '../support/random.js';
import type { Region } from './redis-region.js';

/** How far above a total most milestones are armed: a few additions, or a few toggles. */
const NEAR = 2_000;
const NEXT = 4;

/** Arms milestones in random regions, in the store and in the reference, and compares what comes of them. */
export class RegionHomes {
  /** Records that were compared: a test without any proves nothing. */
  readonly seen = { reached: 0, forwarded: 0 };

  constructor(private readonly random: Random) {}

  /** Some operations come from other regions, which have forwarded them. */
  vary(batch: Batch): Batch {
    const operations = batch.operations.map((one) =>
      this.random.chance(0.1) ? { ...one, isForwarded: true as const, hops: 1 + this.random.below(HOPS_MAX) } : one,
    );
    return { ...batch, operations };
  }

  async step(region: Region): Promise<void> {
    const { random } = this;
    const { history, reference, store } = region;
    const post = random.pick(history.allPosts);
    const { index: metric } = random.pick(history.shape.metrics.list);
    const { armed } = await reference.milestones.read(post, metric);
    if (armed.length > 0 && random.chance(0.3)) {
      const n = random.pick(armed);
      const [was, expected] = await Promise.all(
        [store, reference].map(({ milestones }) => milestones.disarm(post, metric, n)),
      );
      expect(was).toBe(expected);
      return;
    }
    const bucket = reference.buckets[bucketOf(post, history.shape.buckets)]!;
    const total = computeTotal(bucket.post(post)?.metrics[metric]);
    const n = Math.min(total + random.below(1 + random.below(random.chance(0.5) ? NEXT : NEAR)), COUNT_MAX);
    if (n === 0) return;
    const takesOver = random.chance(0.3);
    const from = n - random.below(NEAR);
    const options: ArmOptions = random.chance(0.6)
      ? { mode: 'strict', takesOver, ...(random.chance(0.7) && { from }) }
      : { mode: 'order', takesOver };
    const results = await Promise.all(
      [store, reference].map(({ milestones }) => milestones.arm(post, metric, n, options)),
    );
    expect(results[0]).toEqual(results[1]);
  }

  /** Compares which region has to do the operations. */
  async compareTargets({ reference, store }: Region, { operations }: Batch): Promise<void> {
    const [targets, expected] = await Promise.all(
      [store, reference].map(({ milestones }) => milestones.forwardTo(operations)),
    );
    expect(targets).toEqual(expected);
    for (const target of expected!) if (target !== null) this.seen.forwarded += 1;
  }

  async check({ history, reference, store }: Region): Promise<void> {
    for (const post of history.allPosts) {
      for (const { index } of history.shape.metrics.list) {
        const views = [store, reference].map(async ({ milestones }) => milestones.read(post, index));
        const [view, expected] = (await Promise.all(views)).map(plain);
        expect({ post, index, ...view }).toEqual({ post, index, ...expected });
        this.seen.reached += expected!.reached.length;
      }
    }
  }
}

/** Without what depends on the clock of the store, which is another one in the reference. */
function plain({ reached, ...view }: MilestonesView): MilestonesView {
  return { ...view, reached: reached.map((one) => ({ ...one, recordedAtMs: 0, final: false })) };
}

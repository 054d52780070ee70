import { expect } from '@jest/globals';
import type { Redis } from 'ioredis';
import type { Batch } from '../../src/counters/batch.js';
import { bucketOf } from '../../src/counters/bucket-of.js';
import { COUNT_MAX } from '../../src/counters/pn-counter.js';
import { MsgpackReader } from '../../src/store/redis/codec/msgpack-reader.js';
import type { CounterStore } from '../../src/store/counter-store.js';
import type { MilestonesView } from '../../src/store/milestone-store.js';
import type { ArmOptions } from '../../src/counters/milestones.js';
import type { Operation } from '../../src/counters/operation.js';
import type { Random } from '../support/random.js';
import { type History, sendAlike } from './histories.js';

/** How far above a total most milestones are armed: a few additions, or a few toggles. */
const NEAR = 2_500;
const NEXT = 4;

/** Arms milestones of a history's posts at random in a store and in the reference, and compares what is reached. */
export class ArmedMilestones {
  /** Records that were compared: a test without any proves nothing. */
  records = 0;
  /** Buckets whose field had a list, and those that had more than it may have. */
  listed = 0;
  unlisted = 0;

  constructor(
    private readonly history: History,
    private readonly random: Random,
    private readonly reference: CounterStore,
    private readonly hasHomes = false,
  ) {}

  /** Some batches of logs have sums, and some additions have an actor. */
  vary(batch: Batch): Batch {
    const { random, history } = this;
    const operations = batch.operations.map((one) =>
      one.kind === 'add' && random.chance(0.5) ? { ...one, actor: random.pick(history.actors) } : one,
    );
    const hasSums = batch.afterInLog !== undefined && random.chance(0.5);
    return { ...batch, operations, ...(hasSums ? { hasSums } : {}) };
  }

  /** Batches of a bucket one after the other: those that reach a milestone take longer. */
  async send(store: CounterStore, batches: readonly Batch[], first: number): Promise<void> {
    const buckets = [...new Set(batches.map(({ bucket }) => bucket))];
    await Promise.all(
      buckets.map(async (bucket) => {
        for (const [i, batch] of batches.entries()) {
          if (batch.bucket !== bucket) continue;
          await sendAlike(store, this.reference, [batch], first + i);
          // Applied now if it was not before because of its sums, else stale.
          if (batch.hasSums === true) await sendAlike(store, this.reference, [{ ...batch, hasSums: false }], first + i);
        }
      }),
    );
  }

  async change(store: CounterStore): Promise<void> {
    const { random, history } = this;
    const post = random.pick(history.allPosts);
    const metric = random.pick(history.shape.metrics.list).index;
    const [view] = await this.reference.read([post], null);
    const { armed } = await this.reference.milestones.read(post, metric);
    if (armed.length > 0 && random.chance(0.1)) {
      const n = random.pick(armed);
      const results = [store, this.reference].map(({ milestones }) => milestones.disarm(post, metric, n));
      expect(await Promise.all(results)).toEqual([true, true]);
      return;
    }
    const turn = random.next();
    const above = turn < 0.5 ? random.below(NEXT) : turn < 0.9 ? random.below(NEAR) : random.below(COUNT_MAX);
    const n = Math.min(view!.counts.totals[metric]! + above, COUNT_MAX);
    if (n === 0) return;
    const options = this.hasHomes ? [this.#options(n)] : [];
    const [result, expected] = await Promise.all(
      [store, this.reference].map(({ milestones }) => milestones.arm(post, metric, n, ...options)),
    );
    expect(result).toEqual(expected);
  }

  #options(n: number): ArmOptions {
    const { random } = this;
    const mode = random.chance(0.7) ? 'strict' : 'order';
    const from = random.chance(0.8) ? { from: Math.max(1, n - random.below(NEAR)) } : {};
    return { mode, ...from, takesOver: random.chance(0.3) };
  }

  /** With homes some operations come from other regions. */
  forward(batch: Batch): Batch {
    if (!this.hasHomes || !this.random.chance(0.3)) return batch;
    return { ...batch, operations: batch.operations.map((one) => ({ ...one, isForwarded: true })) };
  }

  /** Asks both where operations on each metric would have to go. @returns how many are another region's */
  async countFrozen(store: CounterStore): Promise<number> {
    const { history, reference, random } = this;
    const operations = history.allPosts.flatMap((post) =>
      history.shape.metrics.list.map(({ index: metric }): Operation => {
        const session = random.chance(0.5) ? random.pick(history.actors) : null;
        const seq = session === null ? 0 : 1 + random.below(3);
        return { post, metric, kind: 'add', value: 1, actor: null, session, seq };
      }),
    );
    const [expected, found] = await Promise.all(
      [reference, store].map(({ milestones }) => milestones.forwardTo(operations)),
    );
    expect(found).toEqual(expected);
    return expected!.filter((region) => region !== null).length;
  }

  async compare(store: CounterStore): Promise<void> {
    for (const post of this.history.allPosts) {
      for (const { index } of this.history.shape.metrics.list) {
        const views = [store, this.reference].map(async ({ milestones }) => milestones.read(post, index));
        const [view, expected] = (await Promise.all(views)).map(plain);
        expect({ post, index, ...view }).toEqual({ post, index, ...expected });
        this.records += expected!.reached.length;
      }
    }
  }

  /**
   * A bucket has the field and the keys only while it has milestones. The field counts those that are armed, and lists the least one of each
   * metric of a post, or none.
   */
  async checkFields(client: Redis): Promise<void> {
    const { buckets, metrics } = this.history.shape;
    for (let bucket = 0; bucket < buckets; bucket++) {
      let [armed, records] = [0, 0];
      const least: string[] = [];
      for (const post of this.history.allPosts.filter((one) => bucketOf(one, buckets) === bucket)) {
        for (const { index } of metrics.list) {
          const view = await this.reference.milestones.read(post, index);
          armed += view.armed.length;
          records += view.reached.length;
          if (view.armed.length > 0) least.push(`${post} ${index} ${view.armed[0]}`);
        }
      }
      const keys = ['milestones', 'milestone_records'].map((name) => client.exists(`tc:{${bucket}}:${name}`));
      expect(await Promise.all(keys)).toEqual([armed + records > 0 ? 1 : 0, records > 0 ? 1 : 0]);
      const field = await client.hgetBuffer(`tc:{${bucket}}`, 'milestones');
      expect(field === null).toBe(armed + records === 0);
      if (field === null) continue;
      const values = new MsgpackReader(field);
      expect(values.readInteger()).toBe(armed);
      if (values.isDone && armed > 0) {
        this.unlisted += 1;
        continue;
      }
      const listed: string[] = [];
      while (!values.isDone) listed.push(`${values.readText()} ${values.readInteger()} ${values.readInteger()}`);
      expect(listed.sort()).toEqual(least.sort());
      this.listed += listed.length > 0 ? 1 : 0;
    }
  }
}

/** Without what depends on the clock of the store, which is another one in the reference. */
function plain({ reached, ...view }: MilestonesView): MilestonesView {
  return { ...view, reached: reached.map((one) => ({ ...one, recordedAtMs: 0, final: false })) };
}

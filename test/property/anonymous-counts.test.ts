import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { COUNTING_RULES, type CountingRules } from '../../src/counters/apply.js';
import { LIKES, Metrics } from '../../src/counters/metrics.js';
import type { Operation } from '../../src/counters/operation.js';
import { APPLIED } from '../../src/counters/operation.js';
import { sumEntries } from '../../src/counters/pn-counter.js';
import type { Delta } from '../../src/counters/replication/delta.js';
import { adjust, key, like, START_MS, unlike } from '../contract/operations.js';
import { ReferenceStore } from '../contract/reference-store.js';
import { RUNS } from './runs.js';

const METRICS = Metrics.parse('likes:toggle,views:tally');
const REGIONS = ['ap', 'eu', 'us'] as const;
const POST = 'story';
const ACTORS = 4;
/** A late full sync is at most this many full syncs old. */
const LATE_MAX = 3;

/** The planted fault: each region may take away what all regions added together. */
const RIGHTS_OF_SUM: CountingRules = { ...COUNTING_RULES, countRights: (counter) => sumEntries(counter) };

const at = fc.nat(REGIONS.length - 1);
const adjusted = fc.record({
  kind: fc.constant('adjust' as const),
  at,
  by: fc.constantFrom(1 as const, -1 as const),
  times: fc.integer({ min: 1, max: 4 }),
});
const toggled = fc.record({ kind: fc.constant('toggle' as const), at, actor: fc.nat(ACTORS - 1), on: fc.boolean() });
const synced = fc.record({ kind: fc.constant('sync' as const), at, to: at, late: fc.nat(LATE_MAX) });
const restarted = fc.record({ kind: fc.constant('restart' as const), at });

const steps = fc.array(fc.oneof(adjusted, adjusted, toggled, synced, synced, restarted), { maxLength: 50 });

/** A region whose store loses nothing. */
class Region {
  readonly store: ReferenceStore;
  /** Its full syncs, each as it was then. */
  readonly fullSyncs: (readonly Delta[])[] = [];
  #n = 0;

  constructor(name: string, rules: CountingRules) {
    this.store = new ReferenceStore(METRICS, 1, { region: name, epoch: 1, nonce: 1 }, () => 1, undefined, rules);
  }

  /** @returns whether it was applied, and the likes from then on */
  async commit(operation: Operation): Promise<{ applied: boolean; likes: number }> {
    const batch = {
      bucket: 0,
      producerId: 'prod-one',
      batchNumber: ++this.#n,
      atMs: START_MS,
      operations: [operation],
    };
    const result = await this.store.commit(batch);
    if (result.kind !== 'applied') throw new Error(result.kind);
    return { applied: (result.outcomes[0]! & APPLIED) > 0, likes: result.counts.get(POST)!.totals[LIKES]! };
  }

  async likes(): Promise<number> {
    return (await this.store.read([POST], null))[0]!.counts.totals[LIKES]!;
  }

  async named(): Promise<number> {
    const views = await Promise.all(Array.from({ length: ACTORS }, (_, i) => this.store.read([POST], key(i))));
    return views.filter(([view]) => view!.on > 0).length;
  }

  async fullSync(): Promise<readonly Delta[]> {
    const { deltas } = await this.store.fullSyncPage(new Set([0]), '', 10);
    this.fullSyncs.push(deltas);
    return deltas;
  }
}

/** Checks the invariants of a region after a step. @throws where one is broken */
async function check(region: Region): Promise<void> {
  const [likes, named] = [await region.likes(), await region.named()];
  expect(likes).toBeGreaterThanOrEqual(named);
  for (const { posts } of await region.store.readPosts([POST])) {
    for (const { entries } of posts) for (const { p, n } of entries) expect(p).toBeGreaterThanOrEqual(n);
  }
}

async function run(
  history: typeof steps extends fc.Arbitrary<infer T> ? T : never,
  rules: CountingRules,
): Promise<void> {
  const regions = REGIONS.map((name) => new Region(name, rules));
  let anonymous = 0;
  for (const step of history) {
    const region = regions[step.at]!;
    if (step.kind === 'adjust') {
      for (let time = 0; time < step.times; time++) {
        const before = await region.likes();
        const { applied, likes } = await region.commit(adjust(POST, step.by));
        if (applied) anonymous += step.by;
        expect(likes).toBe(before + (applied ? step.by : 0));
        // Each +1 is counted; a -1 without a right has no effect.
        if (step.by === 1) expect(applied).toBe(true);
      }
    } else if (step.kind === 'toggle') await region.commit((step.on ? like : unlike)(POST, key(step.actor)));
    else if (step.kind === 'restart') region.store.restart(START_MS);
    else {
      await region.fullSync();
      const fullSyncs = region.fullSyncs;
      await regions[step.to]!.store.merge(fullSyncs.at(-1 - step.late) ?? fullSyncs[0]!);
    }
    await check(step.kind === 'sync' ? regions[step.to]! : region);
  }
  for (let round = 0; round < 2; round++) {
    for (const from of regions) for (const to of regions) if (from !== to) await to.store.merge(await from.fullSync());
  }
  const named = await regions[0]!.named();
  for (const region of regions) {
    await check(region);
    expect(await region.likes()).toBe(named + anonymous);
  }
}

describe('anonymous likes in several regions', () => {
  it('anonymous likes converge, take no like of an actor away, and each +1 is counted', async () => {
    await fc.assert(
      fc.asyncProperty(steps, (history) => run(history, COUNTING_RULES)),
      { numRuns: RUNS * 5 },
    );
  });

  it('anonymous likes do not converge if only their sum may not fall below 0', async () => {
    const found = await fc.check(
      fc.asyncProperty(steps, (history) => run(history, RIGHTS_OF_SUM)),
      { numRuns: 1_000 },
    );
    expect(found.failed).toBe(true);
  });
});

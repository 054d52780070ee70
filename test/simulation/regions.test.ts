import { describe, expect, test } from '@jest/globals';
import { LIMIT_MS, SCALE } from '../property/runs.js';
import type { Operation } from '../../src/counters/operation.js';
import { Random } from '../support/random.js';
import { like, anonymousLike, view } from './region-operations.js';
import { type Plant, RegionsWorld, type ToggleUpdate } from './regions-world.js';

/** Each of the planted faults shows within tens of histories. */
const HISTORIES = 500 * SCALE;
const SKEWED_HISTORIES = 100 * SCALE;
const SEED = Number(process.env['TEST_SEED'] ?? Date.now() % 1_000_000);
const POSTS = ['a', 'b', 'c'];
const ACTORS = 4;
const NAMES = ['ap', 'eu', 'us'];
const STEPS = 20;
const STEP_MS = 300;
const INTERVAL_MS = 500;
/** By then everything that was sent over bad links has arrived. */
const CALM_MS = 2_000;
const RECOVERY_MS = 15_000;
/** Histories within which a planted fault is found. */
const PLANTED = 1_000;
/** Clocks are wrong by up to this, and jump with each failover. */
const SKEW_MS = 5_000;
/** How many of the operations are anonymous likes. */
const ANONYMOUS = 0.2;
/** The period of anti-entropy. */
const ANTI_ENTROPY_PERIOD_MS = 4_000;

/** Runs a history. @returns a description of a fault at its end; `''`: there is none */
async function history(seed: number, plant: Plant = 'none', skewMs = 0, anonymous = ANONYMOUS): Promise<string> {
  const random = new Random(seed);
  const world = new RegionsWorld(random, plant, { intervalMs: INTERVAL_MS, skewMs });
  world.weather = {
    lost: random.chance(0.5) ? random.next() / 2 : 0,
    answerLost: random.chance(0.5) ? random.next() / 2 : 0,
    twice: random.next() / 2,
    late: random.next() / 2,
  };
  for (let step = 0; step < STEPS; step++) {
    const region = random.pick(world.regions);
    const turn = random.next();
    if (turn < 0.55) {
      await region.commit(Array.from({ length: 1 + random.below(3) }, () => operationOf(random, anonymous)));
    } else if (turn < 0.65) region.replicate();
    else if (turn < 0.75) await region.failOver(random.chance(0.5));
    else if (turn < 0.85) world.cut(random.below(3), random.below(3));
    await world.clock.advance(random.below(STEP_MS));
  }
  world.mend();
  await world.clock.advance(CALM_MS);
  let fault = await faultOf(world);
  for (let waitedMs = 0; fault !== '' && waitedMs < RECOVERY_MS; waitedMs += 1_000) {
    await world.clock.advance(1_000);
    fault = await faultOf(world);
  }
  world.close();
  return fault;
}

/** @param anonymous the probability of anonymous likes */
function operationOf(random: Random, anonymous: number): Operation {
  const turn = random.next();
  const post = random.pick(POSTS);
  if (turn < anonymous) return anonymousLike(post, random.chance(0.6) ? 1 : -1);
  if (turn < 0.5) return view(post, 1 + random.below(3));
  return like(post, random.below(ACTORS), random.chance(0.6));
}

type Region = RegionsWorld['regions'][number];

async function totalsOf({ primary }: Region): Promise<readonly number[]> {
  const [read] = await primary.read(['a'], null);
  return read!.counts.totals;
}

async function faultOf(world: RegionsWorld): Promise<string> {
  const views = await Promise.all(world.regions.map(({ primary }) => primary.read(POSTS, null)));
  for (const [i, post] of POSTS.entries()) {
    const counted = world.regions
      .flatMap(({ history }) => history.flatMap(({ batch }) => batch.operations))
      .filter((operation) => operation.post === post && operation.kind === 'add')
      .reduce((sum, { value }) => sum + value, 0);
    const totals = views.map((of) => of[i]!.counts.totals[1]);
    if (totals.some((one) => one !== counted)) return `views of ${post}: ${totals.join(', ')} instead of ${counted}`;
    const likes = views.map((of) => of[i]!.counts.totals[0]!);
    const on = await Promise.all(world.regions.map(({ primary }) => whoLikes(primary, post)));
    if (new Set(on).size > 1) return `likes of ${post} by ${on.join(' | ')}`;
    for (let actor = 0; actor < ACTORS; actor++) {
      const isOn = on[0]!.includes(String(actor));
      if (!isLastUpdate(world, post, actor, isOn))
        return `the last update by ${actor} on ${post} is not ${String(isOn)}`;
    }
    const anonymous = countAnonymousLikes(world, post);
    if (anonymous < 0) return `${-anonymous} more anonymous likes of ${post} were taken away than there were`;
    if (likes.some((one) => one !== on[0]!.length + anonymous)) {
      return `likes of ${post}: ${likes.join(', ')} instead of those of ${on[0]!} and ${anonymous} anonymous ones`;
    }
  }
  return '';
}

function countAnonymousLikes(world: RegionsWorld, post: string): number {
  const applied = world.regions.flatMap(({ history }) => history.flatMap(({ anonymousLikes: anonymous }) => anonymous));
  return applied.filter((one) => one.post === post).reduce((sum, { value }) => sum + value, 0);
}

/** The last update is the durable one with the highest stamp, unless a lost one has a higher stamp. */
function isLastUpdate(world: RegionsWorld, post: string, actor: number, on: boolean): boolean {
  const key = like(post, actor, true).actor!;
  const of = (committed: (typeof world.regions)[number]['history']): ToggleUpdate[] =>
    committed.flatMap(({ toggleUpdates: updates }) =>
      updates.filter(({ operation }) => operation.post === post && operation.actor!.lo === key.lo),
    );
  const durable = of(world.regions.flatMap(({ history }) => history)).toSorted((a, b) => b.stamp - a.stamp);
  // The last one of its batch, if several have this stamp.
  const last = durable.filter(({ stamp }) => stamp === durable[0]?.stamp).at(-1);
  if ((last?.operation.value === 1) === on) return true;
  const lost = of(world.regions.flatMap((region) => region.lost));
  return lost.some(({ operation, stamp }) => (operation.value === 1) === on && stamp > (last?.stamp ?? 0));
}

async function whoLikes(store: RegionsWorld['regions'][number]['primary'], post: string): Promise<string> {
  let on = '';
  for (let actor = 0; actor < ACTORS; actor++) {
    const [view] = await store.read([post], like(post, actor, true).actor);
    if (view!.on > 0) on += String(actor);
  }
  return on;
}

describe('three regions', () => {
  test('regions that are cut off count on alone and show the same when they are connected again', async () => {
    const world = new RegionsWorld(new Random(1));
    await world.clock.advance(2_000);
    for (const from of [0, 1, 2]) for (const to of [0, 1, 2]) world.cut(from, to);
    for (const [i, region] of world.regions.entries()) await region.commit([view('a', i + 1), like('a', i, true)]);
    await world.clock.advance(5_000);
    const apart = await Promise.all(world.regions.map(({ primary }) => primary.read(['a'], null)));
    expect(apart.map(([one]) => one!.counts.totals)).toEqual([
      [1, 1],
      [1, 2],
      [1, 3],
    ]);
    world.mend();
    await world.clock.advance(4_000);
    const together = await Promise.all(world.regions.map(({ primary }) => primary.read(['a'], null)));
    expect(together.map(([one]) => one!.counts.totals)).toEqual([
      [3, 6],
      [3, 6],
      [3, 6],
    ]);
    world.close();
  });

  test(
    `regions agree after ${HISTORIES} histories of cuts, losses and failovers (TEST_SEED=${SEED})`,
    async () => {
      for (let seed = SEED; seed < SEED + HISTORIES; seed++) {
        const fault = await history(seed);
        if (fault !== '') throw new Error(`seed ${seed}: ${fault}`);
      }
    },
    LIMIT_MS,
  );

  test.each(['maximum', 'epoch without nonce', 'no rejection', 'rights of the sum'] as const)(
    'regions with the planted fault %s do not always agree',
    async (plant) => {
      const faults = [];
      for (let seed = 1; seed <= PLANTED && faults.length === 0; seed++) {
        const fault = await history(seed, plant);
        if (fault !== '') faults.push(fault);
      }
      expect(faults).not.toEqual([]);
    },
    LIMIT_MS,
  );

  test('anti-entropy finds a loss that no region noticed', async () => {
    const world = new RegionsWorld(new Random(1), 'none', { antiEntropyPeriodMs: ANTI_ENTROPY_PERIOD_MS });
    const [ap, eu, us] = world.regions as [Region, Region, Region];
    await world.clock.advance(3_000);
    const before = ap.primary.copy();
    await us.commit([view('a', 5), like('a', 1, true)]);
    await world.clock.advance(1_000);
    expect(await totalsOf(ap)).toEqual([1, 5]);
    // The delta was acknowledged, and only its effect was lost.
    for (const { primary } of [eu, us]) {
      const [status] = await primary.bucketStatus([0]);
      const [nothing] = await primary.changesSince([{ bucket: 0, after: status!.clock, ackedUpTo: 0 }], NAMES, 1);
      await before.merge([{ ...nothing!, after: 0 }]);
    }
    ap.primary = before;
    expect(await totalsOf(ap)).toEqual([0, 0]);
    await world.clock.advance(10_000);
    expect(await totalsOf(ap)).toEqual([1, 5]);
    world.close();
  });

  test('regions keep no registers once everything is stable', async () => {
    const world = new RegionsWorld(new Random(1));
    await world.clock.advance(3_000);
    for (const [i, region] of world.regions.entries()) await region.commit([like('a', i, true), like('b', 0, i === 1)]);
    expect(world.regions.map(({ primary }) => primary.registerCount)).toEqual([2, 2, 2]);
    await world.clock.advance(5_000);
    expect(world.regions.map(({ primary }) => primary.registerCount)).toEqual([0, 0, 0]);
    world.close();
  });

  test.each([
    ['a full sync goes on after a page was rejected', [183025, 183885]],
    ['an update from a third region is not forwarded', [180654, 182649]],
    ['of two updates with one stamp the first wins', [180025, 181512]],
  ])('regions with wrong clocks agree in the histories that found this fault: %s', async (_, seeds) => {
    for (const seed of seeds) {
      // Without anonymous likes, as when these histories were found.
      const fault = await history(seed, 'none', SKEW_MS, 0);
      if (!fault.startsWith('the last update')) expect([seed, fault]).toEqual([seed, '']);
    }
  });

  test(
    `regions agree after ${SKEWED_HISTORIES} histories, whatever their clocks say (TEST_SEED=${SEED})`,
    async () => {
      for (let seed = SEED; seed < SEED + SKEWED_HISTORIES; seed++) {
        const fault = await history(seed, 'none', SKEW_MS);
        // Nothing defines which update is the last one then.
        if (fault !== '' && !fault.startsWith('the last update')) throw new Error(`seed ${seed}: ${fault}`);
      }
    },
    LIMIT_MS,
  );
});

import { describe, expect, test } from '@jest/globals';
import type { Operation } from '../../src/counters/operation.js';
import { FOLLOW_AFTER_MS } from '../../src/common/guarded-clock.js';
import { LIMIT_MS, SCALE } from '../property/runs.js';
import { Random } from '../support/random.js';
import { like, anonymousLike, view } from './region-operations.js';
import { type Plant, RegionsWorld } from './regions-world.js';

const HISTORIES = 30 * SCALE;
const SEED = Number(process.env['TEST_SEED'] ?? Date.now() % 1_000_000);
const POSTS = ['a', 'b'];
const ACTORS = 4;
const HOUR_MS = 3_600_000;
const INTERVAL_MS = 500;
const STEPS = 20;
const STEP_MS = 600;
const CALM_MS = 15_000;
/** Histories within which a planted fault is found. */
const PLANTED = 200;

type Region = RegionsWorld['regions'][number];

/** Everything that was counted, in order, as the truth that regions are compared with. */
class Truth {
  readonly #views = new Map<string, number>();
  readonly #plain = new Map<string, number>();
  readonly #updates = new Map<string, boolean>();

  constructor(private readonly world: RegionsWorld) {}

  async commit(region: Region, operation: Operation): Promise<void> {
    await region.commit([operation]);
    const { post, kind, value, actor } = operation;
    if (kind === 'add') this.#views.set(post, (this.#views.get(post) ?? 0) + value);
    else if (kind === 'set') this.#updates.set(`${post} ${actor!.lo}`, value === 1);
    else
      this.#plain.set(
        post,
        (this.#plain.get(post) ?? 0) + (region.history.at(-1)!.anonymousLikes.length > 0 ? value : 0),
      );
  }

  /** @returns a description of a fault; `''`: there is none */
  async fault({ updates = true } = {}): Promise<string> {
    const nowMs = this.world.clock.wallMs();
    for (const { name, primary } of this.world.regions) {
      for (const post of POSTS) {
        const on: number[] = [];
        for (let actor = 0; actor < ACTORS; actor++) {
          const { actor: key } = like(post, actor, true);
          const [seen] = await primary.read([post], key);
          if (seen!.on > 0) on.push(actor);
          const update = this.#updates.get(`${post} ${key!.lo}`) ?? false;
          if (updates && update !== seen!.on > 0)
            return `${name}: the last update by ${actor} on ${post} is ${String(update)}`;
        }
        const [{ counts } = { counts: null }] = await primary.read([post], null);
        const [likes, views] = counts!.totals;
        if (views !== (this.#views.get(post) ?? 0)) return `${name}: ${views} views of ${post}`;
        if (likes !== on.length + (this.#plain.get(post) ?? 0))
          return `${name}: ${likes} likes of ${post} by ${on.join()}`;
        if ((counts!.updatedAtMs ?? 0) > nowMs) return `${name}: ${post} was changed in the future`;
      }
    }
    return await this.#differing();
  }

  async #differing(): Promise<string> {
    for (const post of POSTS) {
      const totals = await Promise.all(this.world.regions.map(({ primary }) => primary.read([post], null)));
      const texts = new Set(totals.map(([one]) => JSON.stringify(one!.counts.totals)));
      if (texts.size > 1) return `${post} differs: ${[...texts].join(' ')}`;
    }
    return '';
  }
}

function operationOf(random: Random): Operation {
  const post = random.pick(POSTS);
  const turn = random.next();
  if (turn < 0.3) return view(post, 1 + random.below(3));
  if (turn < 0.5) return anonymousLike(post, random.chance(0.7) ? 1 : -1);
  return like(post, random.below(ACTORS), random.chance(0.6));
}

async function settled(world: RegionsWorld, truth: Truth, updates: boolean): Promise<string> {
  let fault = 'not checked';
  for (let waitedMs = 0; fault !== '' && waitedMs < CALM_MS; waitedMs += 1_000) {
    await world.clock.advance(1_000);
    fault = await truth.fault({ updates });
  }
  return fault;
}

/** Clocks of machines jump by hours and come back before the gateways follow them. */
async function jumping(seed: number, plant: Plant): Promise<string> {
  const random = new Random(seed);
  const world = new RegionsWorld(random, plant, { intervalMs: INTERVAL_MS });
  const truth = new Truth(world);
  await world.clock.advance(2_000);
  for (let step = 0; step < STEPS; step++) {
    const region = random.pick(world.regions);
    if (random.chance(0.7)) await truth.commit(region, operationOf(random));
    else region.jump(random.pick([0, 3 * HOUR_MS, -3 * HOUR_MS, 20 * 60_000]));
    await world.clock.advance(1 + random.below(STEP_MS));
  }
  for (const region of world.regions) region.jump(0);
  const fault = await settled(world, truth, true);
  world.close();
  return fault;
}

/** Some gateways are started while their clocks are hours ahead; the clocks are corrected afterwards. */
async function startedAhead(seed: number, plant: Plant): Promise<string> {
  const random = new Random(seed);
  const world = new RegionsWorld(random, plant, { intervalMs: INTERVAL_MS });
  const truth = new Truth(world);
  const act = async (steps: number): Promise<void> => {
    for (let step = 0; step < steps; step++) {
      await truth.commit(random.pick(world.regions), operationOf(random));
      await world.clock.advance(1 + random.below(STEP_MS));
    }
  };
  await act(random.below(5));
  const [first, ...others] = world.regions;
  for (const region of [first!, ...others.filter(() => random.chance(0.2))]) {
    region.jump(3 * HOUR_MS);
    region.startClock();
  }
  await act(STEPS / 2);
  for (const region of world.regions) region.jump(0);
  await act(STEPS / 4);
  await world.clock.advance(FOLLOW_AFTER_MS);
  await act(STEPS / 4);
  // Change each post once more, so that its time is correct in the region that does.
  for (const region of world.regions) for (const post of POSTS) await truth.commit(region, view(post));
  const fault = await settled(world, truth, false);
  world.close();
  return fault;
}

async function found(run: (seed: number, plant: Plant) => Promise<string>, plant: Plant): Promise<string> {
  for (let seed = 1; seed <= PLANTED; seed++) {
    const fault = await run(seed, plant);
    if (fault !== '') return fault;
  }
  return '';
}

describe('regions whose clocks are hours wrong', () => {
  test(
    `regions agree exactly after ${HISTORIES} histories of clocks that jump and come back (TEST_SEED=${SEED})`,
    async () => {
      for (let seed = SEED; seed < SEED + HISTORIES; seed++) {
        const fault = await jumping(seed, 'none');
        if (fault !== '') throw new Error(`seed ${seed}: ${fault}`);
      }
    },
    LIMIT_MS,
  );

  test(
    `regions lose no count in ${HISTORIES} histories of gateways that were started ahead (TEST_SEED=${SEED})`,
    async () => {
      for (let seed = SEED; seed < SEED + HISTORIES; seed++) {
        const fault = await startedAhead(seed, 'none');
        if (fault !== '') throw new Error(`seed ${seed}: ${fault}`);
      }
    },
    LIMIT_MS,
  );

  test.each([
    ['no guarded clock', jumping],
    ['no rewind', startedAhead],
  ] as const)(
    'regions with the planted fault %s do not always agree',
    async (plant, run) => {
      expect(await found(run, plant)).not.toBe('');
    },
    LIMIT_MS,
  );
});

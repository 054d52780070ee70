import { describe, expect, test } from '@jest/globals';
import type { Operation } from '../../src/counters/operation.js';
import { key, RULED_METRICS } from '../contract/operations.js';
import { LIMIT_MS, SCALE } from '../property/runs.js';
import { Random } from '../support/random.js';
import { type Plant, RegionsWorld } from './regions-world.js';

/** Each of the planted faults shows within tens of histories. */
const HISTORIES = 300 * SCALE;
const PLANTED = 1_000;
const SEED = Number(process.env['TEST_SEED'] ?? Date.now() % 1_000_000);
const POSTS = ['a', 'b'];
const ACTORS = 3;
const STEPS = 25;
const STEP_MS = 300;
/** By then everything that was sent over bad links has arrived. */
const CALM_MS = 2_000;
const RECOVERY_MS = 15_000;

const READERS = RULED_METRICS.byName('readers')!.index;
const OPTIONS = RULED_METRICS.list.filter(({ kind }) => kind.group !== null).map(({ index }) => index);

type Region = RegionsWorld['regions'][number];

function set(post: string, metric: number, actor: number, on: boolean): Operation {
  return { post, metric, kind: 'set', value: on ? 1 : 0, actor: key(actor), session: null, seq: 0 };
}

/** Votes, votes that are taken back, and readers. */
function operationOf(random: Random): Operation {
  const [post, actor] = [random.pick(POSTS), random.below(ACTORS)];
  if (random.chance(0.2)) return set(post, READERS, actor, true);
  return set(post, random.pick(OPTIONS), actor, random.chance(0.8));
}

/** @returns a fault that a reader sees after the commit, `''`: there is none */
async function commit(region: Region, operations: readonly Operation[], plant: Plant): Promise<string> {
  await region.commit(operations);
  const fault = await votedTwice(region);
  if (plant !== 'put off in a commit of its own') return fault;
  const puttingOff = operations.flatMap((operation) =>
    operation.value === 1 && operation.metric !== READERS
      ? OPTIONS.filter((metric) => metric !== operation.metric).map((metric) => ({ ...operation, metric, value: 0 }))
      : [],
  );
  await region.commit(puttingOff);
  return fault;
}

/** Runs a history. @returns the first fault; `''`: there is none */
async function history(seed: number, plant: Plant = 'none'): Promise<string> {
  const random = new Random(seed);
  const world = new RegionsWorld(random, plant, { intervalMs: 500, metrics: RULED_METRICS });
  const readers = new Set<string>();
  world.weather = {
    lost: random.next() / 3,
    answerLost: random.next() / 3,
    twice: random.next() / 2,
    late: random.next() / 2,
  };
  let fault = '';
  for (let step = 0; step < STEPS && fault === ''; step++) {
    const region = random.pick(world.regions);
    const turn = random.next();
    if (turn < 0.6) {
      const operations = Array.from({ length: 1 + random.below(4) }, () => operationOf(random));
      fault = await commit(region, operations, plant);
      for (const { metric, post, actor } of operations) if (metric === READERS) readers.add(`${post} ${actor!.lo}`);
    } else if (turn < 0.7) region.replicate();
    else if (turn < 0.8) await region.failOver(true);
    else if (turn < 0.9) world.cut(random.below(3), random.below(3));
    await world.clock.advance(random.below(STEP_MS));
    if (fault === '') fault = (await Promise.all(world.regions.map(votedTwice))).find((one) => one !== '') ?? '';
  }
  world.mend();
  await world.clock.advance(CALM_MS);
  for (let waitedMs = 0; waitedMs < RECOVERY_MS && fault === ''; waitedMs += 1_000) {
    if ((await faultAtEnd(world, readers)) === '') break;
    await world.clock.advance(1_000);
  }
  if (fault === '') fault = await faultAtEnd(world, readers);
  world.close();
  return fault;
}

/** The metrics that are on for an actor. */
async function readOn({ primary }: Region, post: string, actor: number): Promise<number[]> {
  const [view] = await primary.read([post], key(actor));
  return RULED_METRICS.list.map(({ index }) => index).filter((index) => (view!.on & (1 << index)) !== 0);
}

/** At no time has an actor two options. */
async function votedTwice(region: Region): Promise<string> {
  for (const post of POSTS) {
    for (let actor = 0; actor < ACTORS; actor++) {
      const options = (await readOn(region, post, actor)).filter((metric) => OPTIONS.includes(metric));
      if (options.length > 1) return `${region.name}: ${actor} has ${options.join(' and ')} of ${post}`;
    }
  }
  return '';
}

async function faultAtEnd(world: RegionsWorld, readers: ReadonlySet<string>): Promise<string> {
  for (const post of POSTS) {
    const ons = await Promise.all(
      world.regions.map((region) =>
        Promise.all(Array.from({ length: ACTORS }, (_, actor) => readOn(region, post, actor))),
      ),
    );
    const [first, ...others] = ons.map((on) => JSON.stringify(on));
    if (others.some((on) => on !== first)) return `${post} is on for ${[first, ...others].join(' | ')}`;
    const voters = ons[0]!.filter((on) => on.some((metric) => OPTIONS.includes(metric))).length;
    const known = [...readers].filter((reader) => reader.startsWith(`${post} `)).length;
    for (const { name, primary } of world.regions) {
      const [view] = await primary.read([post], null);
      const { totals } = view!.counts;
      const votes = OPTIONS.reduce((sum, metric) => sum + totals[metric]!, 0);
      if (votes !== voters) return `${name}: ${votes} votes of ${voters} voters of ${post}`;
      if (totals[READERS] !== known) return `${name}: ${totals[READERS]!} readers of ${post} instead of ${known}`;
    }
  }
  const twice = await Promise.all(world.regions.map(votedTwice));
  return twice.find((one) => one !== '') ?? '';
}

describe('choices and readers over three regions', () => {
  test(
    `a choice has one option in ${HISTORIES} histories of cuts and failovers, and readers are exact (TEST_SEED=${SEED})`,
    async () => {
      for (let seed = SEED; seed < SEED + HISTORIES; seed++) {
        const fault = await history(seed);
        if (fault !== '') throw new Error(`seed ${seed}: ${fault}`);
      }
    },
    LIMIT_MS,
  );

  test.each([
    'put off in a commit of its own',
    'put off the first other option',
    'put off when its update comes',
  ] as const)(
    'the planted fault is found: other options are %s',
    async (plant) => {
      let found = '';
      for (let seed = 1; seed <= PLANTED && found === ''; seed++) found = await history(seed, plant);
      expect(found).not.toBe('');
    },
    LIMIT_MS,
  );
});

import { describe, expect, it } from '@jest/globals';
import { COUNTING_RULES } from '../../src/counters/apply.js';
import { type Crossing, type Milestones, reachMilestones } from '../../src/counters/milestones.js';
import { compareIncarnations } from '../../src/counters/pn-counter.js';
import { METRICS, RULED_METRICS } from '../contract/operations.js';
import { ReferenceStore } from '../contract/reference-store.js';
import { Random } from '../support/random.js';
import { History, type Shape } from './histories.js';
import { MilestonesFold } from './milestones-fold.js';
import { LIMIT_MS, RUNS } from './runs.js';

const BATCHES = 150;
/** How often a milestone is armed or disarmed before a batch. */
const ARMED = 0.5;
const DISARMED = 0.15;
/** How often only the next few numbers are armed. */
const NEAR = 0.5;
const NEAR_MAX = 4;
const FAR_MAX = 2_500;
const SUMS = 0.5;
const RECORDS_MIN = 5;
/** Histories within which a planted fault is found. */
const PLANTED = 20;
const SEED = Number(process.env['TEST_SEED'] ?? Date.now() % 1_000_000);
const INCARNATION = { region: 'local', epoch: 1, nonce: 1 };

const FEW = { buckets: 2, postsABucket: 2, actors: 12, sessions: 5, gateways: 3, large: 60, largeChance: 0.02 };
const SHAPES: readonly Shape[] = [
  { ...FEW, metrics: METRICS },
  { ...FEW, metrics: RULED_METRICS },
];

type Reach = typeof reachMilestones;

/** @returns how many records were compared @throws Error if the reference is not what the fold says */
async function compare(shape: Shape, seed: number, reach: Reach = reachMilestones): Promise<number> {
  const random = new Random(seed);
  const history = new History(shape, random);
  const rules = { ...COUNTING_RULES, reachMilestones: reach };
  const store = new ReferenceStore(shape.metrics, shape.buckets, INCARNATION, null, compareIncarnations, rules);
  const fold = new MilestonesFold(shape.metrics);
  for (let i = 0; i < BATCHES; i++) {
    if (random.chance(ARMED)) await changeArmed(store, fold, history, random);
    const batch = history.next();
    const hasSums = batch.afterInLog !== undefined && random.chance(SUMS);
    let result = await store.commit({ ...batch, hasSums });
    if (result.kind === 'unsum') result = await store.commit(batch);
    if (result.kind === 'applied') fold.commit(batch, result);
    await checkAll(store, fold, history);
  }
  return await checkAll(store, fold, history);
}

async function changeArmed(
  store: ReferenceStore,
  fold: MilestonesFold,
  history: History,
  random: Random,
): Promise<void> {
  const { milestones } = store;
  const post = random.pick(history.allPosts);
  const metric = random.pick(history.shape.metrics.list).index;
  const { armed } = await milestones.read(post, metric);
  if (armed.length > 0 && random.chance(DISARMED)) {
    const n = random.pick(armed);
    await milestones.disarm(post, metric, n);
    fold.disarm(post, metric, n);
    return;
  }
  const [view] = await store.read([post], null);
  const n = view!.counts.totals[metric]! + random.below(random.chance(NEAR) ? NEAR_MAX : FAR_MAX);
  if (n > 0 && Number.isSafeInteger(n)) fold.arm(post, metric, n, await milestones.arm(post, metric, n));
}

async function checkAll(store: ReferenceStore, fold: MilestonesFold, { allPosts, shape }: History): Promise<number> {
  let records = 0;
  for (const post of allPosts) {
    for (const { index } of shape.metrics.list)
      records += fold.check(post, index, await store.milestones.read(post, index));
  }
  return records;
}

/** Rules that name another operation, or name one more than once. */
const PLANTS: Readonly<Record<string, Reach>> = {
  'only a total that equals the number reaches it': (milestones, crossing) =>
    milestones.armed.includes(crossing.total) ? reachMilestones(milestones, crossing) : null,
  'only a total above the number reaches it': (milestones, crossing) =>
    milestones.armed[0] === crossing.total ? null : reachMilestones(milestones, crossing),
  'the number stays armed': (milestones, crossing) => {
    const after = reachMilestones(milestones, crossing);
    return after && { ...after, milestones: { ...after.milestones, armed: milestones.armed } };
  },
  'one operation reaches only one milestone': reachFirst,
  'a number far below the total names nobody': (milestones, crossing) =>
    crossing.value > 1 ? reachMilestones(milestones, { ...crossing, value: 1 }) : reachMilestones(milestones, crossing),
  'records are replaced': (milestones, crossing) => {
    const after = reachMilestones(milestones, crossing);
    return after && { ...after, milestones: { ...after.milestones, reached: after.reached } };
  },
};

function reachFirst({ armed, reached }: Milestones, crossing: Crossing): ReturnType<Reach> {
  const after = reachMilestones({ armed: armed.slice(0, 1), reached }, crossing);
  return after && { ...after, milestones: { ...after.milestones, armed: armed.slice(1) } };
}

describe(`milestones of the reference (TEST_SEED=${SEED})`, () => {
  it(
    `records are those of a search through all totals, in ${RUNS} histories`,
    async () => {
      for (let seed = SEED; seed < SEED + RUNS; seed++) {
        const records = await compare(SHAPES[seed % SHAPES.length]!, seed).catch((error: unknown) => {
          throw new Error(`the history of seed ${seed}`, { cause: error });
        });
        expect(records).toBeGreaterThan(RECORDS_MIN);
      }
    },
    LIMIT_MS,
  );

  it.each(Object.entries(PLANTS))('the search finds the planted fault: %s', async (_, reach) => {
    const faults: unknown[] = [];
    for (let seed = 1; seed <= PLANTED && faults.length === 0; seed++)
      await compare(SHAPES[seed % SHAPES.length]!, seed, reach).catch((error: unknown) => faults.push(error));
    expect(String(faults[0])).toMatch(/M[123]: |outcomes/);
  });
});

import { VIEWS } from '../../src/counters/metrics.js';
import { Random } from '../support/random.js';
import type { HomePlant } from './home-plants.js';
import { HomesWorld, POST } from './homes-world.js';

const STEPS = 40;
/** Below it, and above all actions before it, a region fails over. */
const FAILOVER_TURN = 0.81;
const STEP_MS = 250;
const SKEW_MS = 3_000;
/** Until everything that was sent over bad links has arrived, and regions that lost something have it back. */
const RECOVERY_MS = 20_000;
/** Longer than a record takes to be final. */
const FINAL_MS = 31_000;
/** Sendings after which every operation of a healed world is answered. */
const SENDINGS_MAX = 200;

type Region = HomesWorld['clients'][number]['region'];

export interface Course {
  readonly plant?: HomePlant;
  readonly mode?: 'order' | 'strict';
  readonly failsOver?: boolean;
  /** Clocks are far apart, and the home has the slowest: stamps of other regions are above the one of the claim, as if they came after it. */
  readonly isSkewed?: boolean;
  /** In place of one by chance. */
  readonly metric?: number;
}

/** Runs a history. @returns a description of a fault; `''`: there is none */
export async function history(seed: number, course: Course): Promise<string> {
  const { plant = 'none', mode = 'strict', failsOver = false, isSkewed = false } = course;
  const random = new Random(seed);
  const world = new HomesWorld(random, mode, plant, isSkewed || random.chance(0.5) ? SKEW_MS : 0, course.metric);
  const { regions } = world;
  await regions.clock.advance(2_000);
  regions.weather = {
    lost: random.chance(0.5) ? random.next() / 3 : 0,
    answerLost: random.chance(0.5) ? random.next() / 3 : 0,
    twice: random.next() / 3,
    late: random.next() / 3,
    divided: 0.9 * random.next(),
  };
  const n = world.metric === VIEWS ? 8 + random.below(15) : 2 + random.below(5);
  const from = Math.max(1, n - 1 - random.below(random.chance(0.5) ? 3 : 10));
  const slowest = [...regions.regions].sort((a, b) => a.wallMs - b.wallMs)[0]!;
  await world.arm(isSkewed || random.chance(0.5) ? slowest : random.pick(regions.regions), n, from);
  let failures = 0;
  for (let step = 0; step < STEPS; step++) {
    // In the middle of the last stretch: regions that have just stopped counting.
    const frozen = failsOver && failures === 0 ? world.listFrozen() : [];
    const isStruck = frozen.length > 0 && random.chance(0.3);
    const region = random.pick(isStruck ? frozen : regions.regions);
    const turn = isStruck ? FAILOVER_TURN : random.next();
    if (turn < 0.7) void world.send(random.pick(world.clients));
    else if (turn < 0.76) region.replicate();
    else if (turn <= FAILOVER_TURN && failsOver) {
      failures += 1;
      await world.failOver(region);
      await goOnUnaware(world, region);
    } else if (turn < 0.88) regions.cut(random.below(3), random.below(3));
    else if (turn < 0.94) regions.mend();
    else if (turn < 0.98) await world.arm(region, n, from, true);
    await regions.clock.advance(random.below(STEP_MS));
    const fault = decisionFault(world, n, failures > 0);
    if (fault !== '') return end(world, fault);
  }
  regions.mend();
  await regions.clock.advance(RECOVERY_MS);
  return end(world, (await finish(world, n, failures > 0)) || decisionFault(world, n, failures > 0));
}

/** A region does not learn at once what it has lost, and counts on, while others get to know of its new incarnation. */
async function goOnUnaware(world: HomesWorld, region: Region): Promise<void> {
  const { regions, random } = world;
  if (random.chance(0.5)) regions.mend();
  for (const { name } of regions.regions) if (random.chance(0.9)) regions.blocked.add(`${name} ${region.name}`);
  const own = world.clients.filter((client) => client.region === region);
  for (let sent = random.below(40); sent > 0; sent--) {
    void world.send(random.pick(random.chance(0.5) ? own : world.clients));
    await regions.clock.advance(random.below(200));
  }
}

function end({ regions }: HomesWorld, fault: string): string {
  regions.close();
  return fault;
}

/** Exactness, where nothing was lost: the record is the first operation that took the total of all regions to the number. */
function decisionFault({ decisions, mode }: HomesWorld, n: number, hasLost: boolean): string {
  const named = decisions.filter(({ record }) => record.n === n && !record.missed);
  if (hasLost && mode === 'order') return '';
  if (named.length > 1 && !hasLost) return `${named.length} winners of ${n}`;
  const [winner] = named;
  if (winner === undefined || mode === 'order') return '';
  const { record, trueTotal, trueTotalBefore, knowsAll } = winner;
  if (!knowsAll) return '';
  if (record.total !== trueTotal) return `the winner's total is ${record.total}, and all have counted ${trueTotal}`;
  if (trueTotalBefore >= n) return `the winner came at ${trueTotalBefore} of ${n}`;
  return '';
}

/** After everything is healed nobody waits, and somebody is named. */
async function finish(world: HomesWorld, n: number, hasLost: boolean): Promise<string> {
  const { regions, random } = world;
  for (let sendings = 0; world.trueTotal() < n + 2 && sendings < SENDINGS_MAX; sendings++) {
    void world.send(random.pick(world.clients));
    await regions.clock.advance(50);
  }
  for (let sendings = 0; sendings < SENDINGS_MAX; sendings++) {
    const waiting = world.clients.filter(({ pending }) => pending !== null);
    if (waiting.length === 0) break;
    void world.send(waiting[0]!);
    await regions.clock.advance(100);
  }
  const waiting = world.clients.filter(({ pending }) => pending !== null).length;
  if (waiting > 0) return `${waiting} clients still wait`;
  await regions.clock.advance(FINAL_MS);
  await world.readFinals();
  for (const [number, names] of world.finals) {
    if (names.size > 1) return `${number} is final for ${[...names].join(' and ')}`;
  }
  const isReached = world.trueTotal() >= n;
  const hasRecord = regions.regions.some(({ primary }) =>
    primary.buckets[0]!.milestones.get(POST, world.metric)?.reached.some((one) => one.n === n),
  );
  if (isReached && !hasRecord) {
    return `nobody is named for ${n}`;
  }
  const twice = world.appliedTwice();
  if (twice.length > 0) return `applied twice: ${twice.join(', ')}`;
  return hasLost ? '' : countFault(world);
}

/** Each operation was applied once, in one region. */
function countFault(world: HomesWorld): string {
  if (world.metric !== VIEWS) return '';
  const sent = world.sentViews;
  const counted = world.trueTotal();
  return counted === sent ? '' : `${counted} views are counted, and ${sent} were sent`;
}

export async function findFault(course: Course, from: number, count: number): Promise<string> {
  for (let seed = from; seed < from + count; seed++) {
    const fault = await history(seed, course);
    if (fault !== '') return `seed ${seed}: ${fault}`;
  }
  return '';
}

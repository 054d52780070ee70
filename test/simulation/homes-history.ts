import { VIEWS } from '../../src/counters/metrics.js';
import { Random } from '../support/random.js';
import type { Invariant } from './home-invariants.js';
import type { Course } from './home-plants.js';
import { HomesWorld } from './homes-world.js';

const STEPS = 40;
/** Below it, and above all actions before it, a region fails over. */
const FAILOVER_TURN = 0.81;
const STEP_MS = 250;
const SKEW_MS = 3_000;
/** Until everything that was sent over bad links has arrived, and regions that lost something have it back. */
const RECOVERY_MS = 20_000;
/** Longer than a record takes to be final. */
const FINAL_MS = 31_000;
/** Until all have what is final. */
const SHIPPED_MS = 4_000;
/** Sendings after which every operation of a healed world is answered. */
const SENDINGS_MAX = 200;

type Region = HomesWorld['clients'][number]['region'];

/** Events of histories. Without them these would prove nothing. */
export interface HistoryStats {
  takeovers: number;
  disarmed: number;
  armedAgain: number;
  failovers: number;
  /** Winners, in any region. */
  named: number;
  missed: number;
  /** Operations that reached two milestones. */
  several: number;
}

interface Milestone {
  readonly n: number;
  readonly from: number;
}

/** Runs a history. @param wanted the history ends when it is broken @returns the invariants that are broken, and how */
export async function runHomesHistory(
  seed: number,
  course: Course,
  wanted?: Invariant,
): Promise<{ readonly broken: ReadonlyMap<Invariant, string>; readonly stats: HistoryStats }> {
  const history = new HomesHistory(seed, course);
  const { broken } = history.world.invariants;
  await history.start();
  for (let step = 0; step < STEPS && !isOver(broken, wanted); step++) await history.act(step);
  if (!isOver(broken, wanted)) await history.finish();
  history.world.regions.close();
  return { broken, stats: history.stats };
}

function isOver(broken: ReadonlyMap<Invariant, string>, wanted: Invariant | undefined): boolean {
  return wanted === undefined ? broken.size > 0 : broken.has(wanted);
}

class HomesHistory {
  readonly world: HomesWorld;
  readonly stats: HistoryStats = {
    ...{ takeovers: 0, disarmed: 0, armedAgain: 0, failovers: 0, named: 0, missed: 0, several: 0 },
  };
  readonly #random: Random;
  readonly #milestones: readonly Milestone[];
  /** Numbers that were disarmed, or may be dropped by a home that could not arm them: nobody has to reach them. */
  readonly #dropped = new Set<number>();
  /** In some histories operators do this more often. */
  readonly #operated: number;
  /** The step in which records may become final; past the last one: none. */
  readonly #longStep: number;

  constructor(
    seed: number,
    private readonly course: Course,
  ) {
    const { plant = 'none', mode = 'strict', isSkewed = false } = course;
    const random = (this.#random = new Random(seed));
    this.world = new HomesWorld(random, mode, plant, isSkewed || random.chance(0.5) ? SKEW_MS : 0, course.metric);
    this.#milestones = chooseMilestones(random, this.world.metric);
    this.#operated = this.course.isOperated === true ? 0.06 : random.pick([0.01, 0.03, 0.06]);
    this.#longStep = random.below(5 * STEPS);
  }

  async start(): Promise<void> {
    const { world } = this;
    const { regions } = world;
    const random = this.#random;
    await regions.clock.advance(2_000);
    regions.weather = {
      lost: random.chance(0.5) ? random.next() / 3 : 0,
      answerLost: random.chance(0.5) ? random.next() / 3 : 0,
      twice: random.next() / 3,
      late: random.next() / 3,
      divided: 0.9 * random.next(),
    };
    const slowest = [...regions.regions].sort((a, b) => a.wallMs - b.wallMs)[0]!;
    const first = this.course.isSkewed === true || random.chance(0.5) ? slowest : random.pick(regions.regions);
    await this.#armAll(first);
    // Before it knows of the first one.
    if (random.chance(0.2)) await this.#armAll(random.pick(regions.regions));
  }

  async act(step: number): Promise<void> {
    const { world } = this;
    const { regions } = world;
    const random = this.#random;
    const { failsOver = false } = this.course;
    // In the middle of the last stretch: regions that have just stopped counting.
    const frozen = failsOver && this.stats.failovers === 0 ? world.listFrozen() : [];
    const isStruck = frozen.length > 0 && random.chance(0.3);
    const region = random.pick(isStruck ? frozen : regions.regions);
    const turn = isStruck ? FAILOVER_TURN : random.next();
    if (turn < 0.7) void world.send(random.pick(world.clients));
    else if (turn < 0.76) region.replicate();
    else if (turn <= FAILOVER_TURN && failsOver) await this.#failOver(region);
    else if (turn < 0.88) regions.cut(random.below(3), random.below(3));
    else if (turn < 0.94) regions.mend();
    else if (turn > 1 - this.#operated) await this.#operate(region);
    await regions.clock.advance(random.below(STEP_MS));
    if (step === this.#longStep) await this.#waitForFinals();
    world.invariants.check();
  }

  async #operate(region: Region): Promise<void> {
    const random = this.#random;
    const turn = random.next();
    if (turn < 0.4) {
      this.stats.takeovers += 1;
      const isCut = random.chance(0.5) && this.#cutOffHome();
      await this.#armAll(region, true);
      if (random.chance(0.5)) return;
      // Before the former home knows of it.
      await this.#disarmAll(region);
      if (isCut) await this.#sendMany(this.world.clients);
    } else if (turn < 0.7) await this.#disarmAll(region);
    else await this.#armAll(region);
  }

  /** That is why another region takes over. @returns whether there is one */
  #cutOffHome(): boolean {
    const { regions } = this.world;
    const home = regions.regions.findIndex((one) => this.world.milestones(one)?.shared?.home?.region === one.name);
    if (home < 0) return false;
    for (const other of regions.regions.keys()) regions.cut(other, home);
    return true;
  }

  async #armAll(region: Region, takesOver = false): Promise<void> {
    for (const { n, from } of this.#milestones) await this.#arm(region, n, from, takesOver);
  }

  async #arm(region: Region, n: number, from: number, takesOver = false): Promise<void> {
    const result = await this.world.arm(region, n, from, takesOver);
    const { kind } = result;
    if (kind === 'armed' && result.isNew && this.#dropped.has(n)) this.stats.armedAgain += 1;
    else if (kind !== 'armed' && kind !== 'reached' && kind !== 'elsewhere') this.#dropped.add(n);
  }

  async #disarmAll(region: Region): Promise<void> {
    for (const { n } of this.#milestones) {
      if (!(await this.world.disarm(region, n))) continue;
      this.stats.disarmed += 1;
      this.#dropped.add(n);
    }
  }

  /** A region does not learn at once what it has lost, and counts on, while others get to know of its new incarnation. */
  async #failOver(region: Region): Promise<void> {
    const { world } = this;
    const { regions } = world;
    const random = this.#random;
    this.stats.failovers += 1;
    await world.failOver(region);
    if (random.chance(0.5)) regions.mend();
    for (const { name } of regions.regions) if (random.chance(0.9)) regions.blocked.add(`${name} ${region.name}`);
    await this.#sendMany(
      random.chance(0.5) ? world.clients.filter((client) => client.region === region) : world.clients,
    );
  }

  async #sendMany(clients: HomesWorld['clients']): Promise<void> {
    const { world } = this;
    for (let sent = this.#random.below(40); sent > 0; sent--) {
      void world.send(this.#random.pick(clients));
      await world.regions.clock.advance(this.#random.below(200));
    }
  }

  /** No failover loses as much. */
  async #waitForFinals(): Promise<void> {
    const { regions, invariants } = this.world;
    await regions.clock.advance(FINAL_MS);
    for (const region of regions.regions) region.replicate();
    await invariants.checkFinals();
  }

  /** After everything is healed. */
  async finish(): Promise<void> {
    const { world } = this;
    const { regions } = world;
    regions.mend();
    await regions.clock.advance(RECOVERY_MS);
    for (const region of regions.regions) {
      for (const { n, from } of this.#milestones.filter(({ n }) => this.#dropped.has(n)))
        await this.#arm(region, n, from);
    }
    await regions.clock.advance(2_000);
    const wanted = this.#listWanted();
    world.isEnding = true;
    const last = Math.max(...this.#milestones.map(({ n }) => n));
    for (let sendings = 0; world.trueTotal() < last + 2 && sendings < SENDINGS_MAX; sendings++) {
      void world.send(this.#random.pick(world.clients));
      await regions.clock.advance(50);
    }
    for (let sendings = 0; sendings < SENDINGS_MAX; sendings++) {
      const waiting = world.clients.find(({ pending }) => pending !== null);
      if (waiting === undefined) break;
      void world.send(waiting);
      await regions.clock.advance(100);
    }
    await regions.clock.advance(FINAL_MS + SHIPPED_MS);
    await world.invariants.checkEnd(wanted);
    this.#count();
  }

  /** @returns what has to be reached: what was never dropped, and what is armed in the only region that has some */
  #listWanted(): readonly number[] {
    const armed = this.world.regions.regions
      .map((region) => this.world.milestones(region)?.armed ?? [])
      .filter(({ length }) => length > 0);
    const again = armed.length === 1 ? armed[0]! : [];
    return this.#milestones.flatMap(({ n }) => (this.#dropped.has(n) && !again.includes(n) ? [] : [n]));
  }

  #count(): void {
    const { stats, world } = this;
    const records = this.#milestones.flatMap(({ n }) =>
      world.regions.regions
        .flatMap((one) => world.milestones(one)?.reached.find((record) => record.n === n) ?? [])
        .slice(0, 1),
    );
    const named = records.filter(({ missed }) => !missed);
    stats.named += named.length;
    stats.missed += records.length - named.length;
    stats.several += named.length - new Set(named.map(({ session, seq }) => `${session?.lo}/${seq}`)).size;
  }
}

/** One, or two whose last stretches overlap. */
function chooseMilestones(random: Random, metric: number): readonly Milestone[] {
  const n = metric === VIEWS ? 8 + random.below(15) : 2 + random.below(5);
  const from = Math.max(1, n - 1 - random.below(random.chance(0.5) ? 3 : 10));
  if (random.chance(0.5)) return [{ n, from }];
  const second = n + 1 + random.below(metric === VIEWS ? 6 : 2);
  return [
    { n, from },
    { n: second, from: Math.max(1, n - random.below(4)) },
  ];
}

/** @param wanted in place of any @returns a description of the fault; `''`: there is none */
export async function findFault(course: Course, from: number, count: number, wanted?: Invariant): Promise<string> {
  for (let seed = from; seed < from + count; seed++) {
    const { broken } = await runHomesHistory(seed, course, wanted);
    const found = [...broken].filter(([invariant]) => wanted === undefined || invariant === wanted);
    if (found.length > 0) return `seed ${seed}: ${found.map(([name, how]) => `${name}: ${how}`).join('; ')}`;
  }
  return '';
}

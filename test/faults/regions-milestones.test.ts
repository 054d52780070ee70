import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { sleep } from '../../src/common/sleep.js';
import { systemClock } from '../../src/common/clock.js';
import { LIMIT_MS, SCALE } from '../property/runs.js';
import { closeClients } from '../support/clients.js';
import { stopAll } from '../support/gateway-process.js';
import { administer } from '../support/milestones.js';
import { Random } from '../support/random.js';
import { stopRedis } from '../support/redis-server.js';
import { RACE_ENV, RegionRace } from '../support/region-race.js';
import { RegionProcesses } from '../support/region-processes.js';
import { until } from '../support/until.js';

const NAMES = ['ap', 'eu', 'us'] as const;
const RACES = 2 * SCALE;
const SEED = Number(process.env['TEST_SEED'] ?? Date.now() % 1_000_000);
const CLIENTS_A_REGION = 4;
/** Views of a race, and how long a client waits between two of its own, at most. */
const VIEWS = 120;
const PAUSE_MS = 300;
const FAULTS_A_RACE = 4;
/** No race has more views. */
const ACTORS_A_RACE = 1_000;

afterAll(async () => {
  await closeClients();
  await stopAll();
  await stopRedis();
});

describe.each([
  ['embedded gateways', { gateways: 1, redis: false }],
  ['two gateways on a primary with a replica each', { gateways: 2, redis: 'pair' }],
] as const)('clients of three regions of %s', (_, { gateways, redis }) => {
  const random = new Random(SEED);
  const done = { won: 0, missed: 0, cuts: 0, kills: 0, failovers: 0, takeovers: 0, lost: 0 };
  let world: RegionProcesses;

  beforeAll(async () => {
    world = await RegionProcesses.start(NAMES, {
      gateways,
      redis,
      more: { ...RACE_ENV, ACK: redis ? 'replicated' : 'committed' },
    });
  }, LIMIT_MS);

  afterAll(() => world.close());

  const urlsOf = (region: string): readonly string[] => world.regions.find(({ name }) => name === region)!.urls;

  it(
    `each milestone has one winner in all regions, the N-th by the ledger, in ${RACES} races with cuts and kills (TEST_SEED=${SEED})`,
    async () => {
      const races: RegionRace[] = [];
      for (let number = 0; number < RACES; number++) races.push(await runRace(number));
      for (const race of races) {
        const records = await race.untilRecorded();
        expect(await race.untilRecorded(true)).toEqual(records.map((one) => ({ ...one, final: true })));
      }
      // Races that nobody wins prove little.
      expect(done.won).toBeGreaterThan(0);
      // In a few races it may be that not each of these comes.
      if (SCALE > 5) expect(done.cuts * done.kills * done.takeovers * done.lost).toBeGreaterThan(0);
      if (SCALE > 5 && redis !== false) expect(done.failovers).toBeGreaterThan(0);
    },
    LIMIT_MS,
  );

  async function runRace(number: number): Promise<RegionRace> {
    const n = 40 + random.below(60);
    const milestones = random.chance(0.5) ? [n] : [n, n + 1 + random.below(15)];
    const race = new RegionRace(world, `${SEED}-${number}`, milestones, ACTORS_A_RACE * (number + 1));
    const home = random.pick(NAMES);
    // In every second race all have confirmed the home before anything fails: only then it is sure that somebody wins.
    const isSure = number % 2 === 0;
    await race.arm(home, isSure ? 1 : 2 + random.below(n / 2));
    await race.count(home);
    if (isSure) await race.untilWaitingFor(home);
    const faults: string[] = [];
    const clients = NAMES.flatMap((name) => Array.from({ length: CLIENTS_A_REGION }, () => runClient(race, name)));
    try {
      for (let fault = 0; fault < FAULTS_A_RACE; fault++) {
        const at = race.acknowledged.length + random.below(VIEWS / FAULTS_A_RACE);
        const isThere = (): boolean => race.acknowledged.length >= Math.min(at, VIEWS);
        // In a cut nobody may be able to go on.
        await until(isThere, `${at} views are acknowledged`, 2_000).catch(() => undefined);
        faults.push(await causeFault(race));
      }
    } finally {
      world.mend();
    }
    await Promise.all(clients);
    await race.finish();
    const records = await race.untilRecorded().catch(async (error: unknown) => {
      const states = await Promise.all(NAMES.map(async (name) => ({ name, ...(await race.read(name)) })));
      throw new Error(JSON.stringify({ SEED, number, home, milestones, faults, states }), { cause: error });
    });
    const label = { SEED, number, faults, records };
    if (records.some(({ missed }) => missed === true)) {
      done.missed += 1;
      const named = records.filter(({ missed }) => missed !== true).map(({ actor }) => actor);
      const winners = race.views.filter(({ hasReached }) => hasReached).map(({ actor }) => actor);
      expect({ ...label, named: winners }).toEqual({ ...label, named });
    } else {
      done.won += 1;
      await race.check();
    }
    return race;
  }

  async function runClient(race: RegionRace, region: string): Promise<void> {
    while (race.views.length < VIEWS) {
      await race.sendUntilAcknowledged(race.add(region), urlsOf(region));
      await sleep(systemClock, random.below(PAUSE_MS));
    }
  }

  /** @returns its name */
  async function causeFault(race: RegionRace): Promise<string> {
    const region = random.pick(world.regions);
    const { name } = region;
    const draw = random.next();
    if (draw < 0.25) {
      world.mend();
      return 'mended';
    }
    if (draw < 0.5) {
      done.cuts += 1;
      if (draw < 0.4) world.isolate(name);
      else world.cutOne(random);
      return draw < 0.4 ? `${name} is cut off` : 'one cable is cut';
    }
    if (draw < 0.6) {
      done.lost += 1;
      const to = random.pick(NAMES.filter((one) => one !== name));
      world.loseResponses(name, to);
      return `${name} gets no responses of ${to}`;
    }
    if (draw < 0.7) return `${name} takes over: ${await takeOver(region, race)}`;
    if (draw < 0.85 && redis !== false) {
      await region.failOver();
      done.failovers += 1;
      return `${name} fails over`;
    }
    await region.killAndRestart(random.below(gateways), world.env(region));
    done.kills += 1;
    return `a gateway of ${name} is killed`;
  }

  /**
   * Arms all, because a home knows of none that another one has armed, until they stay armed: the home of another region may replace this
   * one meanwhile.
   * @returns the last statuses
   */
  async function takeOver(region: RegionProcesses['regions'][number], race: RegionRace): Promise<string> {
    for (;;) {
      const statuses: number[] = [];
      for (const at of race.milestones) statuses.push(await armAt(region, race.post, at));
      if (!statuses.includes(201)) return statuses.join();
      done.takeovers += 1;
    }
  }

  /** @returns 409 if it was reached, or the count is above it */
  async function armAt({ name, urls }: RegionProcesses['regions'][number], post: string, at: number): Promise<number> {
    const body = { post, metric: 'views', at, from: 1, mode: 'strict', home: name };
    let status = 503;
    const isDone = async (): Promise<boolean> => {
      status = await administer(urls[0]!, 'PUT', '', body).then(
        (answer) => answer.status,
        () => 503,
      );
      return status !== 503;
    };
    await until(isDone, `${name} takes over`);
    expect([200, 201, 409]).toContain(status);
    return status;
  }
});

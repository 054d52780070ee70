import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { LIMIT_MS, SCALE } from '../property/runs.js';
import { closeClients, LedgerClient, untilConnected } from '../support/clients.js';
import { stopAll } from '../support/gateway-process.js';
import { ADMIN_TOKEN } from '../support/milestones.js';
import { MonitoredPrimary } from '../support/monitored-primary.js';
import { Random } from '../support/random.js';
import { stopRedis } from '../support/redis-server.js';
import { until } from '../support/until.js';
import { LossyGateway } from './milestone-gateways.js';
import { checkRace } from './milestone-ledger.js';
import { MilestoneRace, nameWinner, readResult } from './milestone-race.js';

const GATEWAYS = 4;
/** The long run has 200 races of 1,000 clients. */
const CLIENTS = SCALE > 1 ? 1_000 : 200;
const RACES = SCALE > 1 ? 10 * SCALE : 4;
const SEED = Number(process.env['TEST_SEED'] ?? Date.now() % 1_000_000);
/** The primary is killed in every fourth race, … */
const FAILOVER_EVERY = 4;
/** … and a gateway in two of three. */
const NO_KILL_EVERY = 3;
/** Clients like in every third race, and else add. */
const LIKES_EVERY = 3;
/** The clients of a killed gateway must not take the CPU that it needs to start again. */
const RECONNECT = { reconnectionDelay: 200, reconnectionDelayMax: 1_000 };
const ENV = {
  ACK: 'replicated',
  ADMIN_TOKEN,
  ACTOR_KEYS: 'int64',
  FLUSH_MS: '1',
  MAX_OPS_PER_CONNECTION: '0',
  MAX_OPS_PER_ADDRESS: '0',
  MAX_CONNECTIONS_PER_ADDRESS: '0',
  MAX_NEW_POSTS_PER_ADDRESS: '0',
  MAX_NEW_ACTORS_PER_ADDRESS: '0',
};

describe(`${CLIENTS} clients at ${GATEWAYS} gateways that race to a milestone`, () => {
  const random = new Random(SEED);
  const done = { exact: 0, kills: 0, failovers: 0 };
  const results: { readonly race: MilestoneRace; readonly winners: readonly string[] }[] = [];
  let primary: MonitoredPrimary;
  let gateways: LossyGateway[];
  let clients: LedgerClient[];
  let urls: string[];
  let clientUrls: string[];

  beforeAll(async () => {
    primary = await MonitoredPrimary.start(2);
    const env = { ...ENV, REDIS_URL: primary.sentinels.url };
    gateways = await Promise.all(Array.from({ length: GATEWAYS }, () => LossyGateway.start(env, random)));
    urls = gateways.map(({ url }) => url);
    clientUrls = gateways.map(({ clientUrl }) => clientUrl);
    const options = { ...RECONNECT, transports: ['websocket'] };
    clients = Array.from(
      { length: CLIENTS },
      (_, i) => new LedgerClient(clientUrls[i % GATEWAYS]!, String(1 + i), options),
    );
    await Promise.all(clients.map(({ socket }) => untilConnected(socket)));
  }, LIMIT_MS);

  afterAll(async () => {
    await closeClients();
    await Promise.all(gateways.map((gateway) => gateway.close()));
    await stopAll();
    await stopRedis();
  });

  async function killGateway(race: MilestoneRace): Promise<void> {
    await race.untilAcknowledged(random.next());
    await random.pick(gateways).killAndRestart();
    done.kills += 1;
  }

  async function failOver(race: MilestoneRace): Promise<void> {
    await race.untilAcknowledged(random.next());
    await primary.failOver(false);
    done.failovers += 1;
  }

  async function runRace(number: number): Promise<void> {
    const label = { seed: SEED, number };
    const metric = number % LIKES_EVERY === 2 ? 'likes' : 'views';
    const race = new MilestoneRace(clients, `${SEED}-${number}`, metric, random);
    await race.arm(random.pick(urls));
    const faults: Promise<void>[] = [];
    if (number % NO_KILL_EVERY > 0) faults.push(killGateway(race));
    if (number % FAILOVER_EVERY === 1) faults.push(failOver(race));
    await Promise.all([race.run(clientUrls), ...faults]);
    for (const url of urls) await until(async () => (await fetch(`${url}/readyz`)).ok, `${url} is ready`);
    if (number % FAILOVER_EVERY === 1) await primary.untilAllReplicate();
    const reached = await readResult(race, urls);
    const check = checkRace(race, reached);
    expect({ ...label, faults: check.faults }).toEqual({ ...label, faults: [] });
    expect({ ...label, wrong: await race.retry(reached, urls) }).toEqual({ ...label, wrong: [] });
    results.push({ race, winners: reached.map(nameWinner) });
    done.exact += check.exact;
  }

  it(
    `each milestone has one final winner at all gateways, whom the acknowledgements confirm, in ${RACES} races with gateways and Redis killed (TEST_SEED=${SEED})`,
    async () => {
      for (let number = 0; number < RACES; number++) await runRace(number);
      for (const { race, winners } of results) {
        const isFinal = async (): Promise<boolean> => {
          const reached = await readResult(race, urls);
          expect({ seed: SEED, winners: reached.map(nameWinner) }).toEqual({ seed: SEED, winners });
          return reached.every(({ final }) => final);
        };
        await until(isFinal, `${race.post} has final winners`);
      }
      const resent = clients.reduce((sum, { duplicates }) => sum + duplicates, 0);
      // Races without each of these would prove nothing.
      expect(done.kills * done.failovers * resent).toBeGreaterThan(0);
      // In a few races it may be that no batch of a winner is known completely.
      if (RACES >= 10) expect(done.exact).toBeGreaterThanOrEqual(RACES / 10);
    },
    LIMIT_MS,
  );
});

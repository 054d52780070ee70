import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { LIMIT_MS, SCALE } from '../property/runs.js';
import { closeClients, LedgerClient, readTotals, untilConnected } from '../support/clients.js';
import { stopAll } from '../support/gateway-process.js';
import { ADMIN_TOKEN } from '../support/milestones.js';
import { MonitoredPrimary } from '../support/monitored-primary.js';
import { Random } from '../support/random.js';
import { stopRedis } from '../support/redis-server.js';
import { until } from '../support/until.js';
import { LossyGateway } from './milestone-gateways.js';
import { isNamed, MilestoneRace, nameWinner, readResult } from './milestone-race.js';

const GATEWAYS = 2;
const CLIENTS = 60;
const RACES = 2 * SCALE;
const SEED = Number(process.env['TEST_SEED'] ?? Date.now() % 1_000_000);
const ENV = { ACK: 'committed', ADMIN_TOKEN, ACTOR_KEYS: 'int64', FLUSH_MS: '1', MAX_OPS_PER_ADDRESS: '0' };

describe('a milestone that was reached in commits which a failover loses', () => {
  const random = new Random(SEED);
  let primary: MonitoredPrimary;
  let gateways: LossyGateway[];
  let clients: LedgerClient[];

  beforeAll(async () => {
    primary = await MonitoredPrimary.start(1);
    const env = { ...ENV, MAX_NEW_ACTORS_PER_ADDRESS: '0', REDIS_URL: primary.sentinels.url };
    gateways = await Promise.all(Array.from({ length: GATEWAYS }, () => LossyGateway.start(env, random)));
    const options = { transports: ['websocket'], reconnectionDelay: 200, reconnectionDelayMax: 1_000 };
    clients = Array.from(
      { length: CLIENTS },
      (_, i) => new LedgerClient(gateways[i % GATEWAYS]!.clientUrl, String(1 + i), options),
    );
    await Promise.all(clients.map(({ socket }) => untilConnected(socket)));
  }, LIMIT_MS);

  afterAll(async () => {
    await closeClients();
    await Promise.all(gateways.map((gateway) => gateway.close()));
    await stopAll();
    await stopRedis();
  });

  it(
    `the replayed history has one winner at all gateways, whom it names in retries, after ${RACES} failovers (TEST_SEED=${SEED})`,
    async () => {
      const urls = gateways.map(({ url }) => url);
      const clientUrls = gateways.map(({ clientUrl }) => clientUrl);
      for (let number = 0; number < RACES; number++) {
        const race = new MilestoneRace(clients, `${SEED}-${number}`, 'views', random);
        await race.arm(random.pick(urls));
        await primary.untilAllReplicate();
        await primary.detachReplica();
        await race.run(clientUrls);
        const lost = await readResult(race, urls);
        await primary.failOver(false);
        const isReplayed = async (): Promise<boolean> => {
          const totals = await Promise.all(urls.map((url) => readTotals(url, [race.post]).catch(() => null)));
          return totals.every((one) => one?.[race.post]?.views === race.sum);
        };
        await until(isReplayed, 'all operations are replayed');
        const reached = await readResult(race, urls);
        const label = { seed: SEED, number, lost: lost.map(nameWinner), now: reached.map(nameWinner) };
        expect({ ...label, numbers: reached.map(({ n }) => n) }).toEqual({ ...label, numbers: race.milestones });
        for (const { n, total, value, actor, seq } of reached) {
          const winner = race.operations.find((one) => one.client.actor === actor && one.seq === seq);
          expect({ ...label, by: winner?.by, crosses: total >= n && total - value < n }).toEqual({
            ...label,
            by: value,
            crosses: true,
          });
        }
        const provisional = race.operations.filter(({ ack }) => ack!.reached === true);
        expect({ ...label, provisional: provisional.every((one) => isNamed(one, lost)) }).toEqual({
          ...label,
          provisional: true,
        });
        expect({ ...label, wrong: await race.retry(reached, urls) }).toEqual({ ...label, wrong: [] });
        await primary.untilAllReplicate();
      }
    },
    LIMIT_MS,
  );
});

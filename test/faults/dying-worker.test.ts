import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { Agent } from 'node:http';
import { LIMIT_MS, SCALE } from '../property/runs.js';
import { closeClients, readTotals } from '../support/clients.js';
import { Crowd } from '../support/clients-crowd.js';
import { type GatewayProcess, startGateway, stopAll } from '../support/gateway-process.js';
import { Random } from '../support/random.js';
import { type RedisServer, startRedis, stopRedis } from '../support/redis-server.js';
import { until } from '../support/until.js';
import {
  isAlive,
  listeningRecords,
  readWorkerMetric,
  openPolling,
  requestUpgrade,
  listWorkers,
} from '../support/workers.js';
import { untilUpgraded } from './upgrades.js';

const WORKERS = 2;
const SEED = Number(process.env['TEST_SEED'] ?? Date.now() % 1_000_000);
const SOCKETS = 50;
const DEATHS = SCALE;
const POSTS = Array.from({ length: 20 }, (_, i) => `post-${i}`);

let redis: RedisServer;

beforeAll(async () => {
  redis = await startRedis();
});

afterEach(closeClients);

afterAll(async () => {
  await stopAll();
  await stopRedis();
});

function start(): Promise<GatewayProcess> {
  return startGateway({ REDIS_URL: redis.url, WORKERS: String(WORKERS), MAX_OPS_PER_CONNECTION: '0' });
}

describe('a worker that dies', () => {
  it(
    `a worker that dies is restarted, and no operation is lost or counted twice (TEST_SEED=${SEED})`,
    async () => {
      const random = new Random(SEED);
      const gateway = await start();
      const crowd = new Crowd(gateway.url, SOCKETS, POSTS, random);
      for (let round = 0; round < DEATHS; round++) {
        const enough = crowd.untilAcknowledgements(200 + random.below(300));
        crowd.act();
        await enough;
        await untilUpgraded(crowd);
        const before = listWorkers(gateway);
        expect(before).toHaveLength(WORKERS);
        const victim = random.pick(before);
        process.kill(victim, 'SIGKILL');
        await crowd.untilAcknowledgements(SOCKETS);
        // A boot takes many times as long while the crowd acts.
        crowd.stop();
        await crowd.untilAcknowledged();
        await until(
          async () => !isAlive(victim) && (await readWorkerMetric(gateway.url, 'tallycast_sockets')).length === WORKERS,
          'all workers run',
        );
      }
      expect(await readTotals(gateway.url, POSTS)).toEqual(crowd.sent);
      expect(gateway.log.filter((line) => line.includes('a worker ended and is started again'))).toHaveLength(DEATHS);
      expect(listeningRecords(gateway)).toHaveLength(1);
      expect({ exitCode: await gateway.kill('SIGTERM'), log: gateway.log.slice(-20) }).toMatchObject({ exitCode: 0 });
    },
    LIMIT_MS,
  );

  it('a connection in transit to a worker that dies is closed', async () => {
    const gateway = await start();
    const victim = listWorkers(gateway)[0]!;
    process.kill(victim, 'SIGSTOP');
    const outcomes: string[] = [];
    const requests = Array.from({ length: 2 * WORKERS }, async () => {
      outcomes.push(
        await openPolling(gateway.url, new Agent()).then(
          () => 'served',
          () => 'closed',
        ),
      );
    });
    // A worker gets its next connection when it has taken over the one before.
    await until(() => outcomes.length === requests.length - 1, 'the remaining worker serves all connections but one');
    process.kill(victim, 'SIGKILL');
    await Promise.all(requests);
    expect(outcomes).toEqual(['served', 'served', 'served', 'closed']);
    expect(await gateway.kill('SIGTERM')).toBe(0);
  });

  it('a worker that dies does not block the end of the others, even with connections in transit to it', async () => {
    const gateway = await start();
    const sids = await Promise.all(Array.from({ length: 4 * WORKERS }, () => openPolling(gateway.url, new Agent())));
    const victim = listWorkers(gateway)[0]!;
    process.kill(victim, 'SIGSTOP');
    const upgrades = sids.map((sid) => requestUpgrade(gateway.port, sid));
    // The remaining worker forwards connections of the other one, in order of arrival.
    await until(
      async () => (await fetch(`${gateway.url}/healthz`)).ok,
      'the remaining worker has forwarded the upgrades',
    );
    process.kill(victim, 'SIGKILL');
    expect(await gateway.kill('SIGTERM')).toBe(0);
    for (const connection of upgrades) connection.destroy();
  });
});

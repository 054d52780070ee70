import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { closeClients, connect, granted, totalsAt } from '../support/clients.js';
import { Flood } from '../support/clients-flood.js';
import { type GatewayProcess, startGateway, stopAll } from '../support/gateway-process.js';
import { metricAt } from '../support/metrics.js';
import { type RedisServer, startRedis, stopRedis } from '../support/redis-server.js';
import { until } from '../support/until.js';

const FLOODING = 10;
const FLOOD_EACH = 20_000;
const FLOODED = FLOODING * FLOOD_EACH;
/** 10,000 that wait, and of each socket what Node reads at once. Without an end to reading it would be five times that. */
const PENDING_BOUND = 30_000;
const LIMIT_MS = 60_000;

describe('a gateway that is sent far more than it commits', () => {
  let redis: RedisServer;
  let gateway: GatewayProcess;
  const floods: Flood[] = [];

  beforeAll(async () => {
    redis = await startRedis();
    gateway = await startGateway({ MAX_OPS_PER_CONNECTION: '0', REDIS_URL: redis.url });
  }, LIMIT_MS);

  afterAll(async () => {
    await redis.kill('SIGCONT');
    for (const flood of floods) flood.close();
    await closeClients();
    await stopAll();
    await stopRedis();
  });

  it(
    'lets those wait who send it, commits all of it, and answers others meanwhile',
    async () => {
      const posts = named('all');
      const flood = await Flood.begin(gateway.url, FLOODING, FLOOD_EACH, posts);
      floods.push(flood);
      await until(async () => (await held()) > 0, 'some are held', LIMIT_MS);
      granted(await connect(gateway.url).emitWithAck('view', { post: 'another' }));
      expect(flood.answered).toBeLessThan(FLOODED);
      const pending: number[] = [];
      const answered = async (): Promise<boolean> => {
        pending.push(await metricAt(gateway.url, 'tallycast_pending_operations'));
        return flood.answered === FLOODED;
      };
      await until(answered, 'all is answered', LIMIT_MS);
      expect([...flood.answers]).toEqual([['ok', FLOODED]]);
      expect(await views(posts)).toBe(FLOODED);
      expect(Math.max(...pending)).toBeLessThan(PENDING_BOUND);
      expect(await held()).toBe(0);
    },
    LIMIT_MS,
  );

  it(
    'reads those again, and tells them, when its store goes away meanwhile; and counts what it took',
    async () => {
      const posts = named('away');
      const flood = await Flood.begin(gateway.url, FLOODING, FLOOD_EACH, posts);
      floods.push(flood);
      await until(async () => (await held()) > 0, 'some are held', LIMIT_MS);
      await redis.kill('SIGSTOP');
      await until(() => flood.count('OVERLOADED') > 0 && flood.count('UNAVAILABLE') > 0, 'they are told', LIMIT_MS);
      expect(await held()).toBe(0);
      await redis.kill('SIGCONT');
      await until(() => flood.answered === FLOODED, 'all is answered', LIMIT_MS);
      await until(async () => (await metricAt(gateway.url, 'tallycast_pending_operations')) === 0, 'done', LIMIT_MS);
      expect(await views(posts)).toBe(flood.count('ok') + flood.count('UNAVAILABLE'));
      expect(await held()).toBe(0);
    },
    2 * LIMIT_MS,
  );

  function held(): Promise<number> {
    return metricAt(gateway.url, 'tallycast_held_connections');
  }

  async function views(posts: readonly string[]): Promise<number> {
    const totals = Object.values(await totalsAt(gateway.url, posts));
    return totals.reduce((sum, { views }) => sum + views, 0);
  }
});

function named(name: string): string[] {
  return Array.from({ length: 20 }, (_, i) => `${name}-${i}`);
}

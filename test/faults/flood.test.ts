import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { closeClients, connect, expectOk, readTotals } from '../support/clients.js';
import { Flood } from '../support/clients-flood.js';
import { type GatewayProcess, startGateway, stopAll } from '../support/gateway-process.js';
import { readMetric, untilMetric } from '../support/metrics.js';
import { type RedisServer, startRedis, stopRedis } from '../support/redis-server.js';
import { until } from '../support/until.js';

/** So many that a turn of the event loop takes in more than the store commits, though each has a bounded part of it. */
const FLOODING = 100;
const FLOOD_EACH = 1_000;
const FLOODED = FLOODING * FLOOD_EACH;
/** 10,000 that wait, and of each socket what is taken in a turn. Without an end to reading it would be most of the flood. */
const PENDING_BOUND = 30_000;
/** Operations that wait for their turn are not told that they took too long, however slow the machine. */
const TIME_SCALE = 10;
const ENV = { MAX_OPS_PER_CONNECTION: '0' };

describe('a gateway that is sent far more than it commits', () => {
  let redis: RedisServer;
  let patient: GatewayProcess;
  let gateway: GatewayProcess;
  const floods: Flood[] = [];

  beforeAll(async () => {
    redis = await startRedis();
    const env = { ...ENV, REDIS_URL: redis.url };
    [patient, gateway] = await Promise.all([startGateway(env, { timeScale: TIME_SCALE }), startGateway(env)]);
  });

  afterAll(async () => {
    await redis.kill('SIGCONT');
    for (const flood of floods) flood.close();
    await closeClients();
    await stopAll();
    await stopRedis();
  });

  it('lets those wait who send it, commits all of it, and answers others meanwhile', async () => {
    const { url } = patient;
    const posts = named('all');
    const flood = await Flood.start(url, FLOODING, FLOOD_EACH, posts);
    floods.push(flood);
    await until(async () => (await held(url)) > 0, 'some are held');
    expectOk(await connect(url).emitWithAck('view', { post: 'another' }));
    expect(flood.acknowledged).toBeLessThan(FLOODED);
    const pending: number[] = [];
    const answered = async (): Promise<boolean> => {
      pending.push(await readMetric(url, 'tallycast_pending_operations'));
      return flood.acknowledged === FLOODED;
    };
    await until(answered, 'all is answered');
    expect([...flood.acknowledgements]).toEqual([['ok', FLOODED]]);
    expect(await views(url, posts)).toBe(FLOODED);
    expect(Math.max(...pending)).toBeLessThan(PENDING_BOUND);
    expect(await held(url)).toBe(0);
  });

  it('reads those again, and tells them, when its store goes away meanwhile; and counts what it took', async () => {
    const { url } = gateway;
    const posts = named('away');
    const flood = await Flood.start(url, FLOODING, FLOOD_EACH, posts);
    floods.push(flood);
    await until(async () => (await held(url)) > 0, 'some are held');
    await redis.kill('SIGSTOP');
    await until(() => flood.count('OVERLOADED') > 0 && flood.count('UNAVAILABLE') > 0, 'they are told');
    await until(async () => (await held(url)) === 0, 'all are read again');
    await redis.kill('SIGCONT');
    await until(() => flood.acknowledged === FLOODED, 'all is answered');
    await untilMetric(url, 'tallycast_pending_operations', 0);
    expect(await views(url, posts)).toBe(flood.count('ok') + flood.count('UNAVAILABLE'));
    expect(await held(url)).toBe(0);
  });
});

function held(url: string): Promise<number> {
  return readMetric(url, 'tallycast_paused_connections');
}

async function views(url: string, posts: readonly string[]): Promise<number> {
  const totals = Object.values(await readTotals(url, posts));
  return totals.reduce((sum, { views }) => sum + views, 0);
}

function named(name: string): string[] {
  return Array.from({ length: 20 }, (_, i) => `${name}-${i}`);
}

import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { closeClients, connect, expectOk, readTotals } from '../support/clients.js';
import { Flood } from '../support/clients-flood.js';
import { type GatewayProcess, startGateway, stopAll } from '../support/gateway-process.js';
import { readMetric, untilMetric } from '../support/metrics.js';
import { type RedisServer, startRedis, stopRedis } from '../support/redis-server.js';
import { until } from '../support/until.js';

/** With this many sockets, a turn of the event loop reads more than the store commits, although it reads little of each. */
const FLOODING = 100;
const FLOOD_EACH = 1_000;
const FLOODED = FLOODING * FLOOD_EACH;
/** 10,000 waiting operations and one read of each socket. Without pauses, most of the flood would be pending. */
const PENDING_BOUND = 30_000;
/** Operations that wait do not time out, however slow the machine. */
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

  it('a flooded gateway pauses the flooding connections, commits all operations and serves others meanwhile', async () => {
    const { url } = patient;
    const posts = buildPosts('all');
    const flood = await Flood.start(url, FLOODING, FLOOD_EACH, posts);
    floods.push(flood);
    await until(async () => (await readPaused(url)) > 0, 'some connections are paused');
    expectOk(await connect(url).emitWithAck('view', { post: 'another' }));
    expect(flood.acknowledged).toBeLessThan(FLOODED);
    const pending: number[] = [];
    const isAcknowledged = async (): Promise<boolean> => {
      pending.push(await readMetric(url, 'tallycast_pending_operations'));
      return flood.acknowledged === FLOODED;
    };
    await until(isAcknowledged, 'all operations are acknowledged');
    expect([...flood.acknowledgements]).toEqual([['ok', FLOODED]]);
    expect(await sumViews(url, posts)).toBe(FLOODED);
    expect(Math.max(...pending)).toBeLessThan(PENDING_BOUND);
    expect(await readPaused(url)).toBe(0);
  });

  it('a flooded gateway whose store goes down reads all connections again, rejects operations and counts what it accepted', async () => {
    const { url } = gateway;
    const posts = buildPosts('down');
    const flood = await Flood.start(url, FLOODING, FLOOD_EACH, posts);
    floods.push(flood);
    await until(async () => (await readPaused(url)) > 0, 'some connections are paused');
    await redis.kill('SIGSTOP');
    await until(() => flood.count('OVERLOADED') > 0 && flood.count('UNAVAILABLE') > 0, 'operations are rejected');
    await until(async () => (await readPaused(url)) === 0, 'no connection is paused');
    await redis.kill('SIGCONT');
    await until(() => flood.acknowledged === FLOODED, 'all operations are acknowledged');
    await untilMetric(url, 'tallycast_pending_operations', 0);
    expect(await sumViews(url, posts)).toBe(flood.count('ok') + flood.count('UNAVAILABLE'));
    expect(await readPaused(url)).toBe(0);
  });
});

function readPaused(url: string): Promise<number> {
  return readMetric(url, 'tallycast_paused_connections');
}

async function sumViews(url: string, posts: readonly string[]): Promise<number> {
  const totals = Object.values(await readTotals(url, posts));
  return totals.reduce((sum, { views }) => sum + views, 0);
}

function buildPosts(name: string): string[] {
  return Array.from({ length: 20 }, (_, i) => `${name}-${i}`);
}

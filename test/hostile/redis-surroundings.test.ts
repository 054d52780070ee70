import { afterAll, afterEach, describe, expect, it } from '@jest/globals';
import { startGateway, stopAll } from '../support/gateway-process.js';
import { readMetric, untilMetric } from '../support/metrics.js';
import { startRedis, stopRedis } from '../support/redis-server.js';
import { until } from '../support/until.js';

/** An address where nothing listens. */
const ANNOUNCED = '127.0.0.1:1';

afterEach(stopAll);
afterAll(stopRedis);

/** A cluster of one node, which announces an address where nothing listens. */
async function startHiddenNode(): Promise<{ at: string }> {
  const args = ['--cluster-enabled', 'yes', '--cluster-announce-ip', '127.0.0.1', '--cluster-announce-port', '1'];
  const server = await startRedis({ args });
  const client = server.client();
  await client.cluster('ADDSLOTSRANGE', 0, 16_383);
  await until(async () => (await client.cluster('INFO')).includes('cluster_state:ok'), 'the cluster is complete');
  return { at: `${server.host}:${server.port}` };
}

describe('a cluster that announces unreachable addresses', () => {
  it('the boot on a cluster with unreachable addresses ends with a line that names them, and REDIS_NAT_MAP', async () => {
    const { at } = await startHiddenNode();
    const failure = await startGateway({ REDIS_URL: `redis+cluster://${at}` }).catch((error: unknown) => String(error));
    expect(failure).toContain(`the cluster announces its nodes as ${ANNOUNCED}, and none of these can be reached`);
    expect(failure).toContain(`REDIS_NAT_MAP=${ANNOUNCED}=host:port`);
  });

  it('a gateway reaches a cluster through the addresses in REDIS_NAT_MAP', async () => {
    const { at } = await startHiddenNode();
    const REDIS_NAT_MAP = `${ANNOUNCED}=${at}`;
    const { url } = await startGateway({ REDIS_URL: `redis+cluster://${at}`, REDIS_NAT_MAP });
    const headers = { 'Content-Type': 'application/json' };
    const response = await fetch(`${url}/v1/a/views`, { method: 'PUT', headers, body: '{"action":"increment"}' });
    expect(await response.json()).toMatchObject({ count: 1 });
  });
});

describe('an eviction policy', () => {
  it('an eviction policy for keys with a time to live is accepted with a log line, because counts have none', async () => {
    const server = await startRedis({ args: ['--maxmemory-policy', 'volatile-lru'] });
    const { log } = await startGateway({ REDIS_URL: server.url });
    expect(log.filter((line) => line.includes('maxmemory-policy volatile-lru evicts no counts'))).toHaveLength(1);
  });

  it('a change of the eviction policy while a gateway runs is logged, and so is its correction', async () => {
    const server = await startRedis();
    const gateway = await startGateway({ REDIS_URL: server.url });
    const has = 'tallycast_redis_evicting_servers';
    expect(await readMetric(gateway.url, has)).toBe(0);
    await server.client().config('SET', 'maxmemory-policy', 'allkeys-lru');
    await untilMetric(gateway.url, has, 1);
    expect(gateway.log.filter((line) => line.includes('is now allkeys-lru, which evicts keys'))).toHaveLength(1);
    await server.client().config('SET', 'maxmemory-policy', 'noeviction');
    await untilMetric(gateway.url, has, 0);
  });
});

import { afterAll, beforeAll } from '@jest/globals';
import type { Redis } from 'ioredis';
import { type RedisCluster, startCluster } from '../support/redis-cluster.js';
import { stopRedis } from '../support/redis-server.js';
import { makeMilestonesFinal, openReopenable } from '../support/redis-store.js';
import { describeStore } from './counter-store.contract.js';
import { BUCKETS } from './operations.js';

const PRIMARIES = 3;

let cluster: RedisCluster;
let primaries: readonly Redis[];

beforeAll(async () => {
  cluster = await startCluster({ primaries: PRIMARIES, replicasEach: 1 });
  primaries = cluster.nodes.slice(0, PRIMARIES).map((node) => node.client());
});
afterAll(stopRedis);

describeStore('the Redis store on a cluster of three primaries and three replicas', async (metrics) => {
  await Promise.all(primaries.map((primary) => primary.flushall()));
  const opened = await openReopenable(cluster.url, { metrics, buckets: BUCKETS });
  return { ...opened, makeFinal: () => makeMilestonesFinal(primaries) };
});

import { afterAll, beforeAll } from '@jest/globals';
import type { Redis } from 'ioredis';
import { startRedis, stopRedis } from '../support/redis-server.js';
import { makeMilestonesFinal, openReopenable } from '../support/redis-store.js';
import { describeStore } from './counter-store.contract.js';
import { BUCKETS } from './operations.js';

let url: string;
let client: Redis;

beforeAll(async () => {
  const server = await startRedis();
  url = server.url;
  client = server.client();
});
afterAll(stopRedis);

describeStore('the Redis store', async (metrics) => {
  await client.flushall();
  const opened = await openReopenable(url, { metrics, buckets: BUCKETS });
  return { ...opened, makeFinal: () => makeMilestonesFinal([client]) };
});

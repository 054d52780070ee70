import { afterAll, beforeAll } from '@jest/globals';
import type { Redis } from 'ioredis';
import { startRedis, stopRedis } from '../support/redis-server.js';
import { reopenable } from '../support/redis-store.js';
import { describeStore } from './counter-store.contract.js';
import { BUCKETS, METRICS } from './operations.js';

let url: string;
let client: Redis;

beforeAll(async () => {
  const server = await startRedis();
  url = server.url;
  client = server.client();
});
afterAll(stopRedis);

describeStore('the Redis store', async () => {
  await client.flushall();
  return reopenable(url, { metrics: METRICS, buckets: BUCKETS });
});

import { afterAll, beforeAll } from '@jest/globals';
import type { Redis } from 'ioredis';
import { startRedis, stopRedis } from '../support/redis-server.js';
import { openRedisStore } from '../support/redis-store.js';
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
  const open = () => openRedisStore(url, { metrics: METRICS, buckets: BUCKETS });
  let store = await open();
  return {
    store,
    async reopen() {
      await store.close();
      store = await open();
      return store;
    },
    close: () => store.close(),
  };
});

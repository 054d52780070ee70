import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import type { Redis } from 'ioredis';
import type { RedisStore } from '../../src/store/redis/redis-store.js';
import { BUCKETS, METRICS, START_MS } from '../contract/operations.js';
import { type RedisServer, startRedis, stopRedis } from '../support/redis-server.js';
import { openRedisStore } from '../support/redis-store.js';
import { until } from '../support/until.js';

/** Time until a lease ends, by the clock of Redis. */
const LEASE_MS = 2_000;
const ALL = [0, 1, 2, 3];

const options = { metrics: METRICS, buckets: BUCKETS, publishIntervalMs: 60_000, region: 'eu' };

let server: RedisServer;
let client: Redis;
let store: RedisStore;
let other: RedisStore;

beforeAll(async () => {
  server = await startRedis();
  client = server.client();
});
afterAll(stopRedis);
beforeEach(async () => {
  await client.flushall();
  store = await openRedisStore(server.url, options);
  other = await openRedisStore(server.url, options);
});
afterEach(async () => {
  await store.close();
  await other.close();
});

describe('leases of buckets', () => {
  it('a bucket is leased by one gateway until that gateway stops renewing', async () => {
    await expectSoleLeases(store, other);
    await expectSoleLeases(other, store);
  });

  it('a lease that ends hours ahead, because the clock of the server was wrong, does not block another gateway', async () => {
    expect(await other.replication!.acquireLeases(START_MS)).toEqual(ALL);
    for (const bucket of ALL) {
      const ends = Buffer.alloc(8);
      ends.writeBigUInt64BE(BigInt(Date.now() + 3 * 3_600_000));
      // As msgpack: a string of one character, and a number of 64 bits.
      const lease = Buffer.concat([Buffer.from([0xa1]), Buffer.from('x'), Buffer.from([0xcf]), ends]);
      await client.hset(`tc:{${bucket}}`, 'lease', lease);
    }
    expect(await store.replication!.acquireLeases(START_MS)).toEqual(ALL);
  });
});

/** Fails unless `one` gets all leases once those of the other have ended, and the other gets none within the lease. */
async function expectSoleLeases(one: RedisStore, other: RedisStore): Promise<void> {
  const redisMs = async (): Promise<number> => {
    const [seconds, micros] = await client.time();
    return 1_000 * Number(seconds) + Number(micros) / 1_000;
  };
  const isWithinLease = async (): Promise<boolean> => {
    await until(
      async () => (await one.replication!.acquireLeases(START_MS)).length === ALL.length,
      'the leases of the other gateway have ended',
    );
    const beganMs = await redisMs();
    const renewed = await one.replication!.acquireLeases(START_MS);
    const others = await other.replication!.acquireLeases(START_MS);
    if ((await redisMs()) - beganMs > LEASE_MS) return false;
    expect([renewed, others]).toEqual([ALL, []]);
    return true;
  };
  await until(isWithinLease, 'both request leases within one lease');
}

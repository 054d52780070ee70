import { afterAll, expect, it } from '@jest/globals';
import { BUCKETS, Producer, like, METRICS, postIn } from '../contract/operations.js';
import { startRedis, stopRedis } from '../support/redis-server.js';
import { openRedisStore } from '../support/redis-store.js';

/** Redis keeps sets of integers packed up to here (`set-max-intset-entries`). */
const PACKED_MAX = 512;
const LIKES = 3_000;
const BATCH = 500;
/** Milliseconds in the upper 42 bits and zeros below, like the ids of a service that makes at most one a millisecond. */
const makeSnowflake = (i: number): bigint => BigInt(1_700_000_000_000 + 137 * i) << 22n;

afterAll(stopRedis);

it.each([
  ['one after the other', BigInt],
  ['in thousands', (i: number) => 1_000n * BigInt(i)],
  ['that are snowflakes', makeSnowflake],
  ['below zero', (i: number) => -BigInt(i)],
] as const)(
  'likes of actors with numbers %s are stored in chunks that Redis keeps packed',
  async (_title, makeNumber) => {
    const server = await startRedis();
    const store = await openRedisStore(server.url, { metrics: METRICS, buckets: BUCKETS, actorKeys: 'int64' });
    const [post, producer] = [postIn(0), new Producer('prod-one')];
    for (let first = 0; first < LIKES; first += BATCH) {
      const actors = Array.from({ length: BATCH }, (_, i) => toKey(makeNumber(first + i)));
      await store.commit(
        producer.batch(
          0,
          actors.map((actor) => like(post, actor)),
        ),
      );
    }
    const client = server.client();
    const sizes = await Promise.all(
      (await client.keys(`tc:{0}:members:0:${post}:*`)).map((chunk) => client.scard(chunk)),
    );
    await store.close();
    expect(sizes.reduce((sum, size) => sum + size, 0)).toBe(LIKES);
    expect(sizes.filter((size) => size > PACKED_MAX)).toEqual([]);
  },
);

function toKey(number: bigint): { hi: number; lo: number } {
  return { hi: Number(BigInt.asUintN(32, number >> 32n)), lo: Number(BigInt.asUintN(32, number)) };
}

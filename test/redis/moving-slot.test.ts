import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { Redis } from 'ioredis';
import { slotOf } from '../../src/store/redis/slots.js';
import { BUCKETS, key, Life, like, METRICS, postIn, START_MS, unlike } from '../contract/operations.js';
import { type RedisCluster, startCluster } from '../support/redis-cluster.js';
import { stopRedis } from '../support/redis-server.js';
import { openRedisStore } from '../support/redis-store.js';

const POST = postIn(0);
const [ANN, BOB] = [key(1), key(2)];
const DAY_MS = 86_400_000;

let cluster: RedisCluster;
let client: Redis;

/** All keys of the bucket are here, as a script wants them: else it is refused until the slot has arrived. */
async function fillBucket(): Promise<void> {
  for (const hash of ['g', 'l']) await client.hset(`tc:{0}:${hash}`, 'none', '0');
  for (const set of ['t', 'd']) await client.zadd(`tc:{0}:${set}`, START_MS + 1e12, 'none');
  for (const marks of ['m1:0', 'm2:0']) await client.hset(`tc:{0}:${marks}`, 'none', '0');
}

/** The slot is about to move, and none of its keys has yet. */
async function beginMove(slot: number): Promise<void> {
  const from = await cluster.primaryOf(slot);
  const to = cluster.nodes.find(({ port }) => port !== from.port)!;
  const [fromId, toId] = await Promise.all([client, to.client()].map((node) => node.cluster('MYID')));
  await to.client().cluster('SETSLOT', slot, 'IMPORTING', String(fromId));
  await client.cluster('SETSLOT', slot, 'MIGRATING', String(toId));
}

describe('a bucket whose slot is about to move', () => {
  beforeAll(async () => {
    cluster = await startCluster({ primaries: 3, replicasEach: 0 });
    client = (await cluster.primaryOf(slotOf('tc:{0}'))).client();
  }, 30_000);
  afterAll(stopRedis);

  it('takes a batch whole that empties a set and fills it again, and that begins a day of fences', async () => {
    const store = await openRedisStore(cluster.url, { metrics: METRICS, buckets: BUCKETS });
    await store.commit(new Life('life-one').batch(0, [like(POST, ANN)]));
    await fillBucket();
    await client.hset('tc:{0}', 'f', String(Date.now() - 2 * DAY_MS));
    await beginMove(slotOf('tc:{0}'));

    const batch = new Life('life-two').batch(0, [unlike(POST, ANN), like(POST, BOB)]);
    const result = await store.commit(batch);
    expect(result.kind === 'applied' && [...result.outcomes]).toEqual([1, 5]);
    expect(await client.hexists('tc:{0}:g', 'life-two')).toBe(1);
    const [ann, bob] = await Promise.all([ANN, BOB].map((actor) => store.read([POST], actor)));
    expect([ann![0]!.on, bob![0]!.on, bob![0]!.counts.totals[0]]).toEqual([0, 1, 1]);
    await store.close();
  });
});

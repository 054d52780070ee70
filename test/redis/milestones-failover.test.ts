import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import type { CommitResult } from '../../src/counters/batch.js';
import { LIKES, VIEWS } from '../../src/counters/metrics.js';
import { APPLIED, DUPLICATE, REACHED } from '../../src/counters/operation.js';
import type { RedisStore } from '../../src/store/redis/redis-store.js';
import { BUCKETS, key, METRICS, postIn, Producer, view } from '../contract/operations.js';
import { applied } from '../contract/store-under-test.js';
import { RedisPair } from '../support/redis-pair.js';
import { startRedis, startReplica, stopRedis } from '../support/redis-server.js';
import { openRedisStore } from '../support/redis-store.js';
import { startProxy, type TcpProxy } from '../support/tcp-proxy.js';
import { until } from '../support/until.js';

const POST = postIn(0);
const [ANN, BOB, CAT] = [key(1), key(2), key(3)];
const of = (session: typeof ANN) => ({ ...view(POST, 1, { session, seq: 1 }), actor: session });

let pair: RedisPair;
let proxy: TcpProxy;
let store: RedisStore;

async function open(replicated: boolean): Promise<void> {
  const url = `redis://127.0.0.1:${proxy.port}`;
  store = await openRedisStore(url, { metrics: METRICS, buckets: BUCKETS, replicated });
}

/** Resolves when a call reaches the server that was promoted. */
async function failOver(): Promise<void> {
  await pair.failOver();
  const reads = (): Promise<boolean> =>
    store.milestones.read(POST, VIEWS).then(
      () => true,
      () => false,
    );
  await until(async () => store.available && (await reads()), 'the promoted server answers');
}

describe('milestones after a failover', () => {
  beforeEach(async () => {
    pair = await RedisPair.start();
    proxy = await startProxy(pair);
  });
  afterEach(async () => {
    await store.close();
    await proxy.close();
    await stopRedis();
  });

  it('a crossing that a failover loses leaves no record, and the next crossing is the only one', async () => {
    await open(false);
    const producer = new Producer('prod-one');
    await store.milestones.arm(POST, VIEWS, 3);
    await applied(store, producer.batch(0, [of(ANN), view(POST)]));
    await pair.detachReplica();
    expect((await applied(store, producer.batch(0, [of(BOB)]))).outcomes).toEqual(Uint8Array.of(APPLIED | REACHED));
    expect((await store.milestones.read(POST, VIEWS)).reached).toMatchObject([{ n: 3, actor: BOB, final: false }]);

    await failOver();
    expect(await store.milestones.read(POST, VIEWS)).toMatchObject({ armed: [3], reached: [] });
    const replayed = await applied(store, new Producer('prod-two').batch(0, [of(CAT), of(BOB), of(CAT)]));
    expect(replayed.outcomes).toEqual(Uint8Array.of(APPLIED | REACHED, APPLIED, DUPLICATE | REACHED));
    const winner = { n: 3, actor: CAT, session: CAT, total: 3, epoch: 2, final: false, missed: false };
    expect(await store.milestones.read(POST, VIEWS)).toMatchObject({ armed: [], reached: [winner] });
  });

  it('what a replica has confirmed outlasts a failover: what is armed, disarmed and reached', async () => {
    await open(true);
    for (const n of [2, 3, 4]) await store.milestones.arm(POST, VIEWS, n);
    expect(await store.milestones.disarm(POST, VIEWS, 3)).toBe(true);
    await applied(store, new Producer('prod-one').batch(0, [of(ANN), of(BOB)]));
    await failOver();
    const views = await store.milestones.read(POST, VIEWS);
    expect(views).toMatchObject({ armed: [4], reached: [{ n: 2, actor: BOB, epoch: 1 }] });
    await pair.attachReplica();
    const batch = new Producer('prod-two').batch(0, [of(BOB), of(CAT), view(POST)]);
    // Sent again until the new replica confirms it: with the same outcomes, as any batch.
    const results: CommitResult[] = [];
    const commit = (): Promise<unknown> =>
      store.commit(batch).then(
        (one) => results.push(one),
        () => undefined,
      );
    await until(async () => (await commit()) !== undefined, 'the new replica confirms');
    expect(results).toMatchObject([{ outcomes: Uint8Array.of(DUPLICATE | REACHED, APPLIED, APPLIED | REACHED) }]);
  });
});

describe('milestones without a replica that confirms', () => {
  it('a milestone is neither armed nor disarmed until a replica confirms it, also if another gateway tries again', async () => {
    const primary = await startRedis();
    const replica = await startReplica(primary);
    const options = { metrics: METRICS, buckets: BUCKETS, replicated: true };
    const stores = [await openRedisStore(primary.url, options), await openRedisStore(primary.url, options)];
    try {
      await stores[0]!.milestones.arm(POST, VIEWS, 2);
      await replica.kill('SIGSTOP');
      for (const { milestones } of stores) {
        const calls = [milestones.arm(POST, VIEWS, 3), milestones.arm(POST, LIKES, 3)];
        const disarmed = [milestones.disarm(POST, VIEWS, 2), milestones.disarm(POST, LIKES, 3)];
        for (const call of await Promise.allSettled([...calls, ...disarmed]))
          expect(call).toMatchObject({ reason: { message: expect.stringContaining('no replica confirmed') } });
      }
      await replica.kill('SIGCONT');
      const disarm = (): Promise<boolean> =>
        stores[1]!.milestones.disarm(POST, VIEWS, 3).then(
          () => true,
          () => false,
        );
      await until(disarm, 'the replica confirms');
      expect(await primary.client().exists('tc:{0}', 'tc:{0}:milestones')).toBe(0);
      for (const { milestones } of stores) {
        await replica.kill('SIGSTOP');
        await expect(milestones.disarm(POST, VIEWS, 3)).rejects.toThrow('no replica confirmed');
        await replica.kill('SIGCONT');
      }
    } finally {
      await replica.kill('SIGCONT');
      await Promise.all(stores.map((one) => one.close()));
      await stopRedis();
    }
  });
});

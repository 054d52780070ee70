import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import type { Redis } from 'ioredis';
import { FEED_MAX } from '../../src/counters/change-feed.js';
import { REGION_NUMBERS } from '../../src/counters/replication/hybrid-clock.js';
import { LIKES } from '../../src/counters/metrics.js';
import type { Operation } from '../../src/counters/operation.js';
import type { ToggleRegister, Delta } from '../../src/counters/replication/delta.js';
import type { RedisReplication } from '../../src/store/redis/replication/redis-replication.js';
import type { RedisStore } from '../../src/store/redis/redis-store.js';
import { BUCKETS, key, Producer, like, METRICS, postIn, START_MS, unlike } from '../contract/operations.js';
import { type RedisServer, startRedis, stopRedis } from '../support/redis-server.js';
import { openRedisStore } from '../support/redis-store.js';
import { until } from '../support/until.js';

const POST = postIn(0);
const REQUEST = { bucket: 0, after: 0, ackedUpTo: 0 };
const ACTORS = Array.from({ length: 3 * FEED_MAX }, (_, i) => key(i));
const OFF = ACTORS.slice(0, 100);

let server: RedisServer;
let client: Redis;
let store: RedisStore;
let replication: RedisReplication;

beforeAll(async () => {
  server = await startRedis();
  client = server.client();
});
afterAll(stopRedis);
beforeEach(async () => {
  await client.flushall();
  store = await openRedisStore(server.url, {
    metrics: METRICS,
    buckets: BUCKETS,
    publishIntervalMs: 60_000,
    region: 'eu',
  });
  replication = store.replication!;
});
afterEach(() => store.close());

/** @returns a delta of region us about POST */
function buildDelta(registers: readonly ToggleRegister[]): Delta {
  const posts = [{ post: POST, updatedAtMs: START_MS, entries: [], registers, members: [] }];
  const source = { region: 'us', epoch: 3, nonce: 9 };
  const stamps = { startedAtStamp: 0, after: 0, upTo: 0, ackedUpTo: 0, stableStamp: 0 };
  return { kind: 'changes', bucket: 0, source, predecessors: [], ...stamps, posts, fullSyncReceiver: null };
}

async function readRegisters(): Promise<readonly ToggleRegister[]> {
  const all: ToggleRegister[] = [];
  for (let cursor: string | null = ''; cursor !== null;) {
    const page: Awaited<ReturnType<RedisReplication['fullSyncPage']>> = await replication.fullSyncPage(
      new Set([0]),
      cursor,
      100,
    );
    for (const { posts } of page.deltas) for (const post of posts) all.push(...post.registers);
    cursor = page.next;
  }
  return all;
}

async function readClock(): Promise<number> {
  return (await replication.bucketStatus([0]))[0]!.clock;
}

/** Merges and collects as if the other region had everything up to the stamp. */
async function ackUpTo(stamp: number): Promise<void> {
  const [{ epoch, nonce } = { epoch: 0, nonce: 0 }] = await replication.bucketStatus([0]);
  const stamps = { after: stamp, upTo: stamp, ackedUpTo: stamp };
  await replication.merge([
    { ...buildDelta([]), ...stamps, kind: 'full-sync-end', posts: [], fullSyncReceiver: { epoch, nonce } },
  ]);
  await replication.changesSince([{ ...REQUEST, after: stamp, ackedUpTo: stamp }], ['us'], 500);
}

async function countSpilled(): Promise<number> {
  const counts = (await client.keys('tc:{0}:registers:*')).map((chunk) => client.hlen(chunk));
  return (await Promise.all(counts)).reduce((sum, count) => sum + count, 0);
}

/** Commits likes of all actors, more than a log keeps, and then some unlikes. @returns the clock in between */
async function overflowLog(): Promise<number> {
  const producer = new Producer('prod-one');
  const commit = (operations: Operation[]): Promise<unknown> => store.commit(producer.batch(0, operations));
  for (let first = 0; first < ACTORS.length; first += FEED_MAX) {
    await commit(ACTORS.slice(first, first + FEED_MAX).map((actor) => like(POST, actor)));
  }
  const clock = await readClock();
  await commit(OFF.map((actor) => unlike(POST, actor)));
  return clock;
}

describe('a bucket whose toggle log is full', () => {
  it('sends its registers by a full sync only, each once', async () => {
    await overflowLog();
    expect(await client.keys('tc:{0}:registers:*')).toContain('tc:{0}:registers:0');
    expect(await replication.changesSince([REQUEST], ['us'], 500)).toEqual([null]);
    const registers = await readRegisters();
    expect(registers.length).toBe(ACTORS.length);
    expect(registers.filter(({ on }) => !on).length).toBe(OFF.length);
    expect(new Set(registers.map(({ actor }) => actor.lo)).size).toBe(ACTORS.length);
  });

  it('finds registers that are later than merged updates', async () => {
    const clock = await overflowLog();
    const one = { metric: LIKES, actor: OFF[0]!, stamp: clock, on: true };
    const another = { metric: LIKES, actor: ACTORS[200]!, stamp: 1, on: false };
    await replication.merge([buildDelta([one, another])]);
    expect((await store.read([POST], null))[0]!.counts.totals[LIKES]).toBe(ACTORS.length - OFF.length);
    await replication.merge([buildDelta([{ ...another, stamp: clock }])]);
    expect((await store.read([POST], null))[0]!.counts.totals[LIKES]).toBe(ACTORS.length - OFF.length - 1);
  });

  it('restamps the updates of its own region and no others', async () => {
    await overflowLog();
    const foreign = { metric: LIKES, actor: ACTORS[200]!, stamp: (await readClock()) + 1, on: false };
    await replication.merge([buildDelta([foreign])]);
    const clock = (await readClock()) + 1_000_000;
    await replication.startIncarnation([0], { epoch: 1, clock, needsBackfill: false, rewindsClock: false });
    const stamps = (await readRegisters()).map(({ stamp }) => stamp);
    expect(stamps.filter((stamp) => stamp > clock).length).toBe(ACTORS.length - 1);
    expect(stamps.length).toBe(ACTORS.length);
  });

  it('removes stable registers', async () => {
    await overflowLog();
    const clock = await readClock();
    await ackUpTo(clock);
    await until(async () => {
      await ackUpTo(clock);
      return (await client.keys('tc:{0}:registers:*')).length === 0;
    }, 'registers are removed');
    expect(await client.xlen('tc:{0}:local_log')).toBe(0);
    expect(await client.hexists('tc:{0}', 'registers')).toBe(0);
  });

  it('removes the stable registers of a bucket and keeps the others', async () => {
    const producer = new Producer('prod-one');
    const commit = (operations: Operation[]): Promise<unknown> => store.commit(producer.batch(0, operations));
    await commit([like(POST, ACTORS[0]!)]);
    await ackUpTo(await readClock());
    const clocks: number[] = [];
    for (let first = 1; first + FEED_MAX <= ACTORS.length; first += FEED_MAX / 2) {
      await commit(ACTORS.slice(first, first + FEED_MAX / 2).map((actor) => like(POST, actor)));
      clocks.push(await readClock());
    }
    const [stable] = clocks;
    await until(async () => {
      await ackUpTo(stable!);
      return (await countSpilled()) === FEED_MAX / 2;
    }, 'the first of two spilled batches is removed');
    const stamps = (await readRegisters()).map(({ stamp }) => stamp);
    expect(stamps.length).toBe((clocks.length - 1) * (FEED_MAX / 2));
    expect(stamps.filter((stamp) => stamp <= stable!)).toEqual([]);
  });

  it('keeps the later of two updates of a toggle, whichever log is spilled first', async () => {
    const producer = new Producer('producer1');
    const commit = (actors: typeof ACTORS): Promise<unknown> =>
      store.commit(
        producer.batch(
          0,
          actors.map((actor) => like(POST, actor)),
        ),
      );
    const [actor, ...others] = ACTORS;
    const mergeLikes = (actors: typeof ACTORS, stamp: number): Promise<unknown> =>
      replication.merge([buildDelta(actors.map((one) => ({ metric: LIKES, actor: one, stamp, on: true })))]);
    await commit([actor!]);
    const earlier = await readClock();
    const later = earlier + REGION_NUMBERS * 1_000;
    await replication.merge([buildDelta([{ metric: LIKES, actor: actor!, stamp: later, on: false }])]);
    await mergeLikes(others.slice(0, FEED_MAX), later);
    expect(await countSpilled()).toBeGreaterThan(0);
    await commit(others.slice(FEED_MAX, 2 * FEED_MAX));
    await commit(others.slice(2 * FEED_MAX));
    const stamps = (await readRegisters()).filter((one) => one.actor.lo === actor!.lo).map(({ stamp }) => stamp);
    expect(stamps).toEqual([later]);
  });

  it('expires 10 chunks of registers in a call, of all its buckets together', async () => {
    const buckets = [0, 1];
    const producer = new Producer('prod-one');
    for (let first = 0; first < ACTORS.length; first += FEED_MAX) {
      const actors = ACTORS.slice(first, first + FEED_MAX);
      for (const bucket of buckets) {
        await store.commit(
          producer.batch(
            bucket,
            actors.map((actor) => like(postIn(bucket), actor)),
          ),
        );
      }
    }
    const statuses = await replication.bucketStatus(buckets);
    const requests = statuses.map(({ clock }, bucket) => ({ bucket, after: clock, ackedUpTo: clock }));
    await replication.merge(
      statuses.map(({ clock, epoch, nonce }, bucket) => {
        const stamps = { after: clock, upTo: clock, ackedUpTo: clock };
        const fullSyncReceiver = { epoch, nonce };
        return { ...buildDelta([]), ...stamps, bucket, kind: 'full-sync-end', posts: [], fullSyncReceiver };
      }),
    );
    const countChunks = async (): Promise<number> => (await client.keys('tc:{*}:registers:*')).length;
    const before = await countChunks();
    expect(before).toBeGreaterThan(40);
    await replication.changesSince(requests, ['us'], 500);
    expect(before - (await countChunks())).toBe(10);
    await until(async () => {
      await replication.changesSince(requests, ['us'], 500);
      return (await countChunks()) === 0;
    }, 'the registers of both buckets are removed');
  });
});

import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import type { Redis } from 'ioredis';
import type { Batch } from '../../src/counters/batch.js';
import { FEED_MAX } from '../../src/counters/replication/change-feed.js';
import { LIKES, VIEWS } from '../../src/counters/metrics.js';
import type { Delta, RemoteToggle } from '../../src/counters/replication/delta.js';
import { firstStampAt } from '../../src/counters/replication/hybrid-clock.js';
import type { RedisReplication } from '../../src/store/redis/replication/redis-replication.js';
import type { RedisStore } from '../../src/store/redis/redis-store.js';
import { BUCKETS, key, Producer, like, METRICS, postIn, START_MS, unlike, view } from '../contract/operations.js';
import { startCluster } from '../support/redis-cluster.js';
import { type RedisServer, startRedis, stopRedis } from '../support/redis-server.js';
import { openRedisStore } from '../support/redis-store.js';
import { until } from '../support/until.js';

/** No sweep changes what is due, or the pace, while a test looks on. */
const PUBLISH_MS = 60_000;
/** Of a gateway that acquired buckets, by the clock of Redis. */
const LEASE_MS = 2_000;
const POST = postIn(0);
const US = { region: 'us', epoch: 3, nonce: 9 };
const ALL = [0, 1, 2, 3];

let server: RedisServer;
let client: Redis;
let store: RedisStore;
let regions: RedisReplication;

const options = { metrics: METRICS, buckets: BUCKETS, publishIntervalMs: PUBLISH_MS, region: 'eu' };

beforeAll(async () => {
  server = await startRedis();
  client = server.client();
});
afterAll(stopRedis);
beforeEach(async () => {
  await client.flushall();
  store = await openRedisStore(server.url, options);
  regions = store.replication!;
});
afterEach(() => store.close());

/** What us tells of POST: a view, a plain like, and that Ann likes it. */
function shipmentOf(stamp: number): Delta {
  const entries = [
    { metric: VIEWS, incarnation: US, p: 5, n: 0 },
    { metric: LIKES, incarnation: US, p: 3, n: 1 },
  ];
  const registers = [{ metric: LIKES, actor: key(1), stamp, on: true }];
  const posts = [{ post: POST, updatedAtMs: START_MS, entries, registers, members: [] }];
  const about = {
    bucket: 0,
    source: US,
    startedAtStamp: 0,
    predecessors: [],
    ackedUpTo: 0,
    stableStamp: 0,
    fullSyncReceiver: null,
  };
  return { kind: 'changes', ...about, after: 0, upTo: stamp, posts };
}

async function contents(except: string): Promise<Map<string, string | undefined>> {
  const keys = (await client.keys('*')).filter((one) => one !== except).sort();
  const dumps = await Promise.all(keys.map(async (one) => (await client.dumpBuffer(one)).toString('hex')));
  return new Map(keys.map((one, i) => [one, dumps[i]]));
}

describe('what Redis refuses has changed nothing', () => {
  const commit = (batch: Batch): Promise<unknown> => store.commit(batch);

  it.each(['tc:{0}:changes', 'tc:{0}:local_log'])('a commit, as %s is of a wrong type', async (wrong) => {
    await client.set(wrong, 'in the way');
    const before = await contents(wrong);
    const batch = new Producer('life-one').batch(0, [view(POST), like(POST, key(2))]);
    await expect(commit(batch)).rejects.toThrow(/WRONGTYPE/);
    expect(await contents(wrong)).toEqual(before);
    await client.del(wrong);
    expect(await commit(batch)).toMatchObject({ kind: 'applied', outcomes: Uint8Array.of(1, 5) });
  });

  it.each([
    ...['changes', 'local_log', 'remote_log', 'publish_after', 'publish_due', 'viewers'],
    ...['posts:0', `members:0:${POST}:0`],
  ])('a merge, as tc:{0}:%s is of a wrong type', async (name) => {
    const wrong = `tc:{0}:${name}`;
    store.watch(POST);
    await store.read([POST], null);
    await regions.bucketStatus(ALL);
    await client.set(wrong, 'in the way');
    const before = await contents(wrong);
    await expect(regions.merge([shipmentOf(firstStampAt(START_MS))])).rejects.toThrow(/WRONGTYPE/);
    expect(await contents(wrong)).toEqual(before);
    await client.del(wrong);
    const [receipt] = await regions.merge([shipmentOf(firstStampAt(START_MS))]);
    expect(receipt).toMatchObject({ bucket: 0, incarnationRejected: false });
    expect((await store.read([POST], key(1)))[0]).toMatchObject({ counts: { totals: [3, 5, 0, 0] }, on: 1 });
  });

  it('and without other regions nothing is kept for them', async () => {
    await client.flushall();
    const local = await openRedisStore(server.url, { ...options, hasPeers: false });
    try {
      await local.commit(new Producer('life-one').batch(0, [view(POST), like(POST, key(1)), unlike(POST, key(1))]));
      expect(local.replication).toBeNull();
      expect(await client.exists('tc:{0}:changes', 'tc:{0}:local_log', 'tc:{0}:remote_log')).toBe(0);
      expect((await client.hkeys('tc:{0}')).sort()).toEqual(['epoch', 'nonce', 'run_id', 'sizes']);
    } finally {
      await local.close();
    }
  });
});

describe('changes of other regions', () => {
  it('are announced, and told to those who watch here and to the actors whose toggles they are', async () => {
    const other = await openRedisStore(server.url, { ...options, publishIntervalMs: 5 });
    const told: unknown[] = [];
    const toggled: RemoteToggle[] = [];
    try {
      for (const one of [store, other]) one.watch(POST);
      for (const one of [store, other]) await one.read([POST], null);
      for (const one of [store, other])
        one.changes.subscribe((changes) => told.push([one === store, changes[0]!.totals]));
      regions.remoteToggles.subscribe((some) => toggled.push(...some));
      await regions.merge([shipmentOf(firstStampAt(START_MS))]);
      await until(() => told.length >= 3, 'both stores have told it, this one twice');
      expect(told).toContainEqual([true, [3, 5, 0, 0]]);
      expect(told).toContainEqual([false, [3, 5, 0, 0]]);
      expect(toggled).toEqual([{ post: POST, metric: LIKES, actor: key(1), on: true }]);
    } finally {
      await other.close();
    }
  });

  it('are merged in parts when they are many, and the receipt moves with the last', async () => {
    const upTo = firstStampAt(START_MS);
    const registers = Array.from({ length: 1_000 }, (_, i) => ({
      metric: LIKES,
      actor: key(i),
      stamp: upTo,
      on: true,
    }));
    const [post] = shipmentOf(upTo).posts;
    const shipment = { ...shipmentOf(upTo), posts: [{ ...post!, registers }] };
    // It is not known here yet: nothing is confirmed before it was shown.
    expect(await regions.merge([shipment])).toMatchObject([{ upTo: 0, incarnationRejected: false }]);
    const [receiver] = await regions.bucketStatus([0]);
    expect(await regions.merge([{ ...shipment, kind: 'full-sync-end', fullSyncReceiver: receiver! }])).toMatchObject([
      { ...US_LIFE, upTo },
    ]);
    expect((await store.read([POST], null))[0]!.counts.totals).toEqual([1_002, 5, 0, 0]);
  });
});

const US_LIFE = { epoch: US.epoch, nonce: US.nonce };

describe('a bucket', () => {
  it('is led by one gateway until that asks no more', async () => {
    const other = await openRedisStore(server.url, options);
    try {
      await leadsAlone(regions, other.replication!);
      await leadsAlone(other.replication!, regions);
    } finally {
      await other.close();
    }
  });

  it('is led by another gateway although a lease says that it ends in hours, as the clock of the server was ahead', async () => {
    const other = await openRedisStore(server.url, options);
    try {
      expect(await other.replication!.acquireLeases(START_MS)).toEqual(ALL);
      for (const bucket of ALL) {
        const ends = Buffer.alloc(8);
        ends.writeBigUInt64BE(BigInt(Date.now() + 3 * 3_600_000));
        // As msgpack: a string of one character, and a number of 64 bits.
        const lease = Buffer.concat([Buffer.from([0xa1]), Buffer.from('x'), Buffer.from([0xcf]), ends]);
        await client.hset(`tc:{${bucket}}`, 'lease', lease);
      }
      expect(await regions.acquireLeases(START_MS)).toEqual(ALL);
    } finally {
      await other.close();
    }
  });

  /** The one leads all when no lease of the other is left; the other leads none then, if it asks within the lease. */
  async function leadsAlone(one: RedisReplication, other: RedisReplication): Promise<void> {
    const redisMs = async (): Promise<number> => {
      const [seconds, micros] = await client.time();
      return 1_000 * Number(seconds) + Number(micros) / 1_000;
    };
    const isWithinLease = async (): Promise<boolean> => {
      await until(
        async () => (await one.acquireLeases(START_MS)).length === ALL.length,
        'the lease of the other has run out',
      );
      const beganMs = await redisMs();
      const renewed = await one.acquireLeases(START_MS);
      const others = await other.acquireLeases(START_MS);
      if ((await redisMs()) - beganMs > LEASE_MS) return false;
      expect([renewed, others]).toEqual([ALL, []]);
      return true;
    };
    await until(isWithinLease, 'both ask within a lease');
  }

  it('forgets the oldest changes when there are too many, and is scanned for then', async () => {
    const life = new Producer('life-one');
    const posts = Array.from({ length: 2 * FEED_MAX }, (_, i) => `post-${i}`);
    const half = posts.length / 2;
    const asked = [{ bucket: 0, after: 0, ackedUpTo: 0 }];
    for (let first = 0; first < posts.length; first += half) {
      await store.commit(
        life.batch(
          0,
          posts.slice(first, first + half).map((post) => view(post)),
        ),
      );
      const [shipment] = await regions.changesSince(asked, ['us'], 500);
      expect(shipment === null ? null : shipment!.posts.length).toBe(first === 0 ? half : null);
    }
    expect(await client.zcard('tc:{0}:changes')).toBe(FEED_MAX);
  });

  it('of counts that were made before there were regions tells them by a scan', async () => {
    await client.flushall();
    const alone = await openRedisStore(server.url, { ...options, hasPeers: false });
    await alone.commit(new Producer('life-one').batch(0, [view(POST, 7), like(POST, key(1))]));
    await alone.close();
    expect(await regions.changesSince([{ bucket: 0, after: 0, ackedUpTo: 0 }], ['us'], 100)).toEqual([null]);
    const { deltas } = await regions.fullSyncPage(new Set(ALL), '', 100);
    expect(deltas).toMatchObject([
      {
        bucket: 0,
        source: { region: 'eu', epoch: 1, nonce: 7 },
        posts: [
          { post: POST, entries: [{ metric: VIEWS, p: 7, n: 0 }], members: [{ actors: [key(1)] }, { actors: [] }] },
        ],
      },
    ]);
    expect(deltas[0]!.stableStamp).toBeGreaterThan(0);
  });
});

describe('a region on a cluster', () => {
  it('and one on a single server tell each other all they count', async () => {
    const cluster = await startCluster({ primaries: 3, replicasEach: 0 });
    const us = await openRedisStore(cluster.url, { ...options, region: 'us' });
    try {
      for (const bucket of ALL) {
        const [post, other] = [postIn(bucket), postIn(bucket, 1)];
        await store.commit(new Producer('life-one').batch(bucket, [view(post, 2), like(post, key(bucket))]));
        await us.commit(
          new Producer('life-two').batch(bucket, [view(post, 3), like(other, key(9)), unlike(post, key(bucket))]),
        );
      }
      expect(await us.replication!.acquireLeases(START_MS)).toEqual(ALL);
      for (const [from, to] of [
        [us.replication!, regions],
        [regions, us.replication!],
      ] as const) {
        const [standings, receivers] = [await from.bucketStatus(ALL), await to.bucketStatus(ALL)];
        const collected = await from.changesSince(
          ALL.map((bucket) => ({ bucket, after: 0, ackedUpTo: 0 })),
          ['x'],
          100,
        );
        const shipments = await allPages(from);
        const ends = collected.map((one, bucket): Delta => {
          const { clock } = standings[bucket]!;
          return { ...one!, kind: 'full-sync-end', after: clock, upTo: clock, fullSyncReceiver: receivers[bucket]! };
        });
        const receipts = await to.merge([...shipments, ...ends]);
        expect(receipts.slice(-ALL.length).map(({ upTo }) => upTo)).toEqual(standings.map(({ clock }) => clock));
      }
      const posts = ALL.flatMap((bucket) => [postIn(bucket), postIn(bucket, 1)]);
      for (const actor of [null, key(0), key(9)]) {
        const [here, there] = [await store.read(posts, actor), await us.read(posts, actor)];
        expect(here.map(({ counts, on }) => [counts.totals, on])).toEqual(
          there.map(({ counts, on }) => [counts.totals, on]),
        );
      }
      const views = (await us.read(posts, null)).map(({ counts }) => counts.totals[VIEWS]);
      expect(views).toEqual(ALL.flatMap(() => [5, 0]));
      expect((await us.replication!.readPosts(posts)).map(({ bucket }) => bucket)).toEqual(
        ALL.flatMap((bucket) => [bucket, bucket]),
      );
      await us.replication!.observeIncarnations('eu', [[0, { epoch: 5, nonce: 1 }]]);
      await us.replication!.startIncarnation(ALL, { epoch: 4, clock: 0, needsBackfill: true, rewindsClock: false });
      await us.replication!.completeBackfill(ALL);
      expect((await us.replication!.bucketStatus(ALL)).map(({ epoch }) => epoch)).toEqual([5, 5, 5, 5]);
    } finally {
      await us.close();
    }
  });
});

async function allPages(from: RedisReplication): Promise<Delta[]> {
  const all: Delta[] = [];
  for (let cursor: string | null = ''; cursor !== null;) {
    const page: Awaited<ReturnType<RedisReplication['fullSyncPage']>> = await from.fullSyncPage(
      new Set(ALL),
      cursor,
      100,
    );
    all.push(...page.deltas);
    cursor = page.next;
  }
  return all;
}

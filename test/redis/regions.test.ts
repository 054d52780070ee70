import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import type { Redis } from 'ioredis';
import type { Batch } from '../../src/counters/batch.js';
import { FEED_MAX } from '../../src/counters/change-feed.js';
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

/** No sweep changes which posts are due, or when they may be published, during a test. */
const PUBLISH_MS = 60_000;
const POST = postIn(0);
const US = { region: 'us', epoch: 3, nonce: 9 };
const ALL = [0, 1, 2, 3];

let server: RedisServer;
let client: Redis;
let store: RedisStore;
let replication: RedisReplication;

const options = { metrics: METRICS, buckets: BUCKETS, publishIntervalMs: PUBLISH_MS, region: 'eu' };

beforeAll(async () => {
  server = await startRedis();
  client = server.client();
});
afterAll(stopRedis);
beforeEach(async () => {
  await client.flushall();
  store = await openRedisStore(server.url, options);
  replication = store.replication!;
});
afterEach(() => store.close());

/** A delta of region us about POST: views, anonymous likes and a like of Ann. */
function buildDelta(stamp: number): Delta {
  const entries = [
    { metric: VIEWS, incarnation: US, p: 5, n: 0 },
    { metric: LIKES, incarnation: US, p: 3, n: 1 },
  ];
  const registers = [{ metric: LIKES, actor: key(1), stamp, on: true }];
  const posts = [{ post: POST, updatedAtMs: START_MS, entries, registers, members: [] }];
  const common = {
    bucket: 0,
    source: US,
    startedAtStamp: 0,
    predecessors: [],
    ackedUpTo: 0,
    stableStamp: 0,
    fullSyncReceiver: null,
  };
  return { kind: 'changes', ...common, after: 0, upTo: stamp, posts };
}

async function readContents(except: string): Promise<Map<string, string | undefined>> {
  const keys = (await client.keys('*')).filter((one) => one !== except).sort();
  const dumps = await Promise.all(keys.map(async (one) => (await client.dumpBuffer(one)).toString('hex')));
  return new Map(keys.map((one, i) => [one, dumps[i]]));
}

describe('a call that Redis rejects', () => {
  const commit = (batch: Batch): Promise<unknown> => store.commit(batch);

  it.each(['tc:{0}:changes', 'tc:{0}:local_log'])(
    'a commit that is rejected because %s has a wrong type changes nothing',
    async (wrong) => {
      await client.set(wrong, 'in the way');
      const before = await readContents(wrong);
      const batch = new Producer('prod-one').batch(0, [view(POST), like(POST, key(2))]);
      await expect(commit(batch)).rejects.toThrow(/WRONGTYPE/);
      expect(await readContents(wrong)).toEqual(before);
      await client.del(wrong);
      expect(await commit(batch)).toMatchObject({ kind: 'applied', outcomes: Uint8Array.of(1, 5) });
    },
  );

  it.each([
    ...['changes', 'local_log', 'remote_log', 'publish_after', 'publish_due', 'viewers'],
    ...['posts:0', `members:0:${POST}:0`],
  ])('a merge that is rejected because tc:{0}:%s has a wrong type changes nothing', async (name) => {
    const wrong = `tc:{0}:${name}`;
    store.watch(POST);
    await store.read([POST], null);
    await replication.bucketStatus(ALL);
    await client.set(wrong, 'in the way');
    const before = await readContents(wrong);
    await expect(replication.merge([buildDelta(firstStampAt(START_MS))])).rejects.toThrow(/WRONGTYPE/);
    expect(await readContents(wrong)).toEqual(before);
    await client.del(wrong);
    const [ack] = await replication.merge([buildDelta(firstStampAt(START_MS))]);
    expect(ack).toMatchObject({ bucket: 0, incarnationRejected: false });
    expect((await store.read([POST], key(1)))[0]).toMatchObject({ counts: { totals: [3, 5, 0, 0] }, on: 1 });
  });

  it('a store without peers writes no data for them', async () => {
    await client.flushall();
    const local = await openRedisStore(server.url, { ...options, hasPeers: false });
    try {
      await local.commit(new Producer('prod-one').batch(0, [view(POST), like(POST, key(1)), unlike(POST, key(1))]));
      expect(local.replication).toBeNull();
      expect(await client.exists('tc:{0}:changes', 'tc:{0}:local_log', 'tc:{0}:remote_log')).toBe(0);
      expect((await client.hkeys('tc:{0}')).sort()).toEqual(['epoch', 'nonce', 'run_id', 'sizes']);
    } finally {
      await local.close();
    }
  });
});

describe('changes of other regions', () => {
  it('changes of other regions are published to all stores that watch, and emitted for the actors of the toggles', async () => {
    const other = await openRedisStore(server.url, { ...options, publishIntervalMs: 5 });
    const emitted: unknown[] = [];
    const toggled: RemoteToggle[] = [];
    try {
      for (const one of [store, other]) one.watch(POST);
      for (const one of [store, other]) await one.read([POST], null);
      for (const one of [store, other])
        one.changes.subscribe((changes) => emitted.push([one === store, changes[0]!.totals]));
      replication.remoteToggles.subscribe((some) => toggled.push(...some));
      await replication.merge([buildDelta(firstStampAt(START_MS))]);
      await until(() => emitted.length >= 3, 'both stores have emitted it, the first one twice');
      expect(emitted).toContainEqual([true, [3, 5, 0, 0]]);
      expect(emitted).toContainEqual([false, [3, 5, 0, 0]]);
      expect(toggled).toEqual([{ post: POST, metric: LIKES, actor: key(1), on: true }]);
    } finally {
      await other.close();
    }
  });

  it('a large delta is merged in fragments, and only the last one moves the ack', async () => {
    const upTo = firstStampAt(START_MS);
    const registers = Array.from({ length: 1_000 }, (_, i) => ({
      metric: LIKES,
      actor: key(i),
      stamp: upTo,
      on: true,
    }));
    const [post] = buildDelta(upTo).posts;
    const delta = { ...buildDelta(upTo), posts: [{ ...post!, registers }] };
    // The bucket has not seen this incarnation: it acks nothing before a full sync.
    expect(await replication.merge([delta])).toMatchObject([{ upTo: 0, incarnationRejected: false }]);
    const [receiver] = await replication.bucketStatus([0]);
    expect(await replication.merge([{ ...delta, kind: 'full-sync-end', fullSyncReceiver: receiver! }])).toMatchObject([
      { ...US_INCARNATION, upTo },
    ]);
    expect((await store.read([POST], null))[0]!.counts.totals).toEqual([1_002, 5, 0, 0]);
  });
});

const US_INCARNATION = { epoch: US.epoch, nonce: US.nonce };

describe('a replicated bucket', () => {
  it('a bucket drops the oldest changes over the limit of its change feed, and then needs a full sync', async () => {
    const producer = new Producer('prod-one');
    const posts = Array.from({ length: 2 * FEED_MAX }, (_, i) => `post-${i}`);
    const half = posts.length / 2;
    const requests = [{ bucket: 0, after: 0, ackedUpTo: 0 }];
    for (let first = 0; first < posts.length; first += half) {
      await store.commit(
        producer.batch(
          0,
          posts.slice(first, first + half).map((post) => view(post)),
        ),
      );
      const [delta] = await replication.changesSince(requests, ['us'], 500);
      expect(delta === null ? null : delta!.posts.length).toBe(first === 0 ? half : null);
    }
    expect(await client.zcard('tc:{0}:changes')).toBe(FEED_MAX);
  });

  it('counts from before the store had peers are sent by a full sync', async () => {
    await client.flushall();
    const alone = await openRedisStore(server.url, { ...options, hasPeers: false });
    await alone.commit(new Producer('prod-one').batch(0, [view(POST, 7), like(POST, key(1))]));
    await alone.close();
    expect(await replication.changesSince([{ bucket: 0, after: 0, ackedUpTo: 0 }], ['us'], 100)).toEqual([null]);
    const { deltas } = await replication.fullSyncPage(new Set(ALL), '', 100);
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
  it('a region on a cluster and one on a single server replicate all counts to each other', async () => {
    const cluster = await startCluster({ primaries: 3, replicasEach: 0 });
    const us = await openRedisStore(cluster.url, { ...options, region: 'us' });
    try {
      for (const bucket of ALL) {
        const [post, other] = [postIn(bucket), postIn(bucket, 1)];
        await store.commit(new Producer('prod-one').batch(bucket, [view(post, 2), like(post, key(bucket))]));
        await us.commit(
          new Producer('prod-two').batch(bucket, [view(post, 3), like(other, key(9)), unlike(post, key(bucket))]),
        );
      }
      expect(await us.replication!.acquireLeases(START_MS)).toEqual(ALL);
      for (const [from, to] of [
        [us.replication!, replication],
        [replication, us.replication!],
      ] as const) {
        const [statuses, receivers] = [await from.bucketStatus(ALL), await to.bucketStatus(ALL)];
        const changes = await from.changesSince(
          ALL.map((bucket) => ({ bucket, after: 0, ackedUpTo: 0 })),
          ['x'],
          100,
        );
        const pages = await readAllPages(from);
        const ends = changes.map((one, bucket): Delta => {
          const { clock } = statuses[bucket]!;
          return { ...one!, kind: 'full-sync-end', after: clock, upTo: clock, fullSyncReceiver: receivers[bucket]! };
        });
        const acks = await to.merge([...pages, ...ends]);
        expect(acks.slice(-ALL.length).map(({ upTo }) => upTo)).toEqual(statuses.map(({ clock }) => clock));
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

async function readAllPages(from: RedisReplication): Promise<Delta[]> {
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

import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import type { Redis } from 'ioredis';
import { pages } from '../../src/common/grouping.js';
import { bucketOf } from '../../src/counters/bucket-of.js';
import { decideCopy, LOSS_MAX_MS } from '../../src/sinks/copy-decision.js';
import type { ChangePage } from '../../src/store/change-store.js';
import type { RedisStore } from '../../src/store/redis/redis-store.js';
import { BUCKETS, METRICS, postIn, Producer, view } from '../contract/operations.js';
import { type RedisServer, startRedis, stopRedis } from '../support/redis-server.js';
import { openRedisStore } from '../support/redis-store.js';
import { until } from '../support/until.js';

const POST = postIn(0);
const WITHOUT_MEMBERS = { limit: 500, withMembers: false };
const ALL = Array.from({ length: BUCKETS }, (_, bucket) => bucket);
/** Time until a lease ends, by the clock of Redis. */
const LEASE_MS = 2_000;

let server: RedisServer;
let client: Redis;
let store: RedisStore;
let producer: Producer;
let incarnations = 0;

beforeAll(async () => {
  server = await startRedis({ args: ['--appendonly', 'yes', '--appendfsync', 'always'] });
});
afterAll(stopRedis);
beforeEach(async () => {
  client = server.client();
  await client.flushall();
  store = await openStore();
  producer = new Producer('prod-one');
});
afterEach(() => store.close());

function openStore(): Promise<RedisStore> {
  return openRedisStore(server.url, { metrics: METRICS, buckets: BUCKETS, nonce: () => ++incarnations });
}

function listPosts(bucket: number, count: number): string[] {
  const numbered = Array.from({ length: 2 * BUCKETS * count }, (_, i) => `post-${i}`);
  return numbered.filter((post) => bucketOf(post, BUCKETS) === bucket).slice(0, count);
}

async function collect(bucket: number, after: number): Promise<ChangePage> {
  const [page] = await store.changeStore.changesSince([{ bucket, after }], WITHOUT_MEMBERS);
  return page!;
}

describe('changed posts in Redis', () => {
  it('a bucket whose changes nobody needs has neither a field nor a key for them', async () => {
    await store.commit(producer.batch(0, [view(POST)]));
    expect(await client.hexists('tc:{0}', 'changed_posts')).toBe(0);
    expect(await client.exists('tc:{0}:changed_posts')).toBe(0);
    await collect(0, 0);
    await store.changeStore.stopRecording();
    await store.commit(producer.batch(0, [view(POST)]));
    expect(await client.hexists('tc:{0}', 'changed_posts')).toBe(0);
    expect(await client.exists('tc:{0}:changed_posts')).toBe(0);
  });

  it('an idle bucket is collected without a write', async () => {
    const { upTo } = await collect(0, 0);
    const fileSize = async (): Promise<string> => /aof_current_size:(\d+)/.exec(await client.info('persistence'))![1]!;
    const before = await fileSize();
    expect(await collect(0, upTo)).toMatchObject({ upTo, isComplete: true, posts: [] });
    expect(await fileSize()).toBe(before);
  });

  it('changes of many buckets that do not fit into one call are all collected', async () => {
    const first = await store.changeStore.changesSince(
      ALL.map((bucket) => ({ bucket, after: 0 })),
      WITHOUT_MEMBERS,
    );
    const posts = ALL.map((bucket) => listPosts(bucket, 400));
    await Promise.all(
      ALL.map((bucket) =>
        store.commit(
          producer.batch(
            bucket,
            posts[bucket]!.map((post) => view(post)),
          ),
        ),
      ),
    );
    const requests = ALL.map((bucket) => ({ bucket, after: first[bucket]!.upTo }));
    const pages = await store.changeStore.changesSince(requests, WITHOUT_MEMBERS);
    for (const { bucket, isComplete, posts: changed } of pages) {
      expect([isComplete, changed.map(({ post }) => post).sort()]).toEqual([true, [...posts[bucket]!].sort()]);
    }
  });

  it('seqs are dropped whole: a copy of any age is sent all it lacks, or has to sync', async () => {
    const groups = pages(listPosts(0, 5_200), 400);
    const copies: number[] = [(await collect(0, 0)).upTo];
    for (const group of groups) {
      await store.commit(
        producer.batch(
          0,
          group.map((post) => view(post)),
        ),
      );
      copies.push((await collect(0, copies.at(-1)!)).upTo);
    }
    const kept = new Set<boolean>();
    for (const [i, upTo] of copies.entries()) {
      const posts: string[] = [];
      let page = await collect(0, upTo);
      kept.add(upTo >= page.droppedUpTo);
      if (upTo < page.droppedUpTo) continue;
      posts.push(...page.posts.map(({ post }) => post));
      while (!page.isComplete) {
        page = await collect(0, page.upTo);
        posts.push(...page.posts.map(({ post }) => post));
      }
      expect(posts.sort()).toEqual(groups.slice(i).flat().sort());
    }
    expect([...kept]).toEqual([false, true]);
  });

  it('a copy that had everything goes on with changes after a restart that lost nothing', async () => {
    const { upTo } = await collect(0, 0);
    await store.commit(producer.batch(0, [view(POST)]));
    const before = await collect(0, upTo);
    const position = { ...before.starts.at(-1)!, upTo: before.upTo, changedAtMs: before.changedAtMs, isComplete: true };
    await server.kill('SIGKILL');
    await server.restart();
    client = server.client();
    await until(() => store.available, 'the store is available');
    await store.commit(producer.batch(0, [view(POST)]));
    const after = await collect(0, position.upTo);
    expect(after.starts.map(({ epoch }) => epoch)).toEqual([1, 2]);
    expect(decideCopy(position, after)).toBe('changes');
    expect(after).toMatchObject({ isComplete: true, sums: [0, 2, 0, 0], posts: [{ post: POST, v: 2 }] });
  });

  it('a copy that lost the first change of a quiet bucket in a failover is not halted', async () => {
    await store.commit(producer.batch(0, [view(POST)]));
    const before = await collect(0, 0);
    const changedAtMs = Date.now();
    expect(changedAtMs - before.changedAtMs).toBeGreaterThan(LOSS_MAX_MS);
    await server.kill('SIGKILL');
    await server.restart();
    client = server.client();
    await until(() => store.available, 'the store is available');
    const position = { ...before.starts.at(-1)!, upTo: before.upTo + 1, changedAtMs, isComplete: true };
    const after = await collect(0, position.upTo);
    expect(after.changedAtMs).toBe(before.changedAtMs);
    expect(decideCopy(position, after)).toBe('full-sync');
    expect(decideCopy({ ...position, changedAtMs: changedAtMs + 2 * LOSS_MAX_MS }, after)).toBe('halt');
  });

  it('an incarnation that begins with recording members starts at the seq that was recovered', async () => {
    const { upTo } = await collect(0, (await collect(0, 0)).upTo);
    await store.commit(producer.batch(0, [view(POST)]));
    await server.kill('SIGKILL');
    await server.restart();
    client = server.client();
    await until(() => store.available, 'the store is available');
    const [page] = await store.changeStore.changesSince([{ bucket: 0, after: upTo }], {
      limit: 500,
      withMembers: true,
    });
    expect(page!.droppedUpTo).toBe(upTo + 1);
    expect(page!.starts.at(-1)!.startSeq).toBe(upTo + 1);
  });

  it('all posts are read in the epoch of the restarted server', async () => {
    await store.commit(producer.batch(0, [view(POST)]));
    await server.kill('SIGKILL');
    await server.restart();
    client = server.client();
    await until(() => store.available, 'the store is available');
    const { posts } = await store.changeStore.readAll(new Set([0]), '', 500);
    expect(posts).toEqual([(await store.read([POST], null))[0]!.counts]);
    expect(posts[0]!.e).toMatch(/^local\.2\./);
  });
});

describe('the lease of a duty', () => {
  it('one gateway has the lease of a duty until it stops renewing it', async () => {
    const other = await openStore();
    try {
      await expectSoleLease(store, other);
      await expectSoleLease(other, store);
      expect(await store.changeStore.acquireLease('another duty')).toBe(true);
    } finally {
      await other.close();
    }
  });
});

/** Fails unless `one` gets the lease once that of the other has ended, and the other does not get it within the lease. */
async function expectSoleLease(one: RedisStore, other: RedisStore): Promise<void> {
  const redisMs = async (): Promise<number> => {
    const [seconds, micros] = await client.time();
    return 1_000 * Number(seconds) + Number(micros) / 1_000;
  };
  const isWithinLease = async (): Promise<boolean> => {
    await until(() => one.changeStore.acquireLease('copies'), 'the lease of the other gateway has ended');
    const beganMs = await redisMs();
    const renewed = await one.changeStore.acquireLease('copies');
    const others = await other.changeStore.acquireLease('copies');
    if ((await redisMs()) - beganMs > LEASE_MS) return false;
    expect([renewed, others]).toEqual([true, false]);
    return true;
  };
  await until(isWithinLease, 'both request the lease within one lease');
}

import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import type { Redis } from 'ioredis';
import { pages } from '../../src/common/grouping.js';
import { LIKES } from '../../src/counters/metrics.js';
import type { ChangePage } from '../../src/store/change-store.js';
import type { RedisStore } from '../../src/store/redis/redis-store.js';
import { BUCKETS, key, like, METRICS, postIn, Producer, save, SAVES, unlike, view } from '../contract/operations.js';
import { PublishedCounts } from '../contract/published-counts.js';
import { type RedisServer, startRedis, stopRedis } from '../support/redis-server.js';
import { openRedisStore } from '../support/redis-store.js';

const POST = postIn(0);
const OTHER = postIn(0, 1);
const WITH_MEMBERS = { limit: 500, withMembers: true };
/** More than one chunk of members has. */
const MANY = 1_500;

let server: RedisServer;
let client: Redis;
let store: RedisStore;
let producer: Producer;

beforeAll(async () => {
  server = await startRedis();
});
afterAll(stopRedis);
beforeEach(async () => {
  client = server.client();
  await client.flushall();
  store = await openRedisStore(server.url, { metrics: METRICS, buckets: BUCKETS });
  producer = new Producer('prod-one');
});
afterEach(() => store.close());

async function collect(after: number): Promise<ChangePage> {
  const [page] = await store.changeStore.changesSince([{ bucket: 0, after }], WITH_MEMBERS);
  return page!;
}

/** Starts recording members. @returns the position of a copy that has everything so far */
async function startRecording(): Promise<number> {
  return (await collect((await collect(0)).upTo)).upTo;
}

async function likeByMany(from: number, to: number): Promise<void> {
  const actors = Array.from({ length: to - from }, (_, i) => key(from + i));
  for (const some of pages(actors, 400)) {
    await store.commit(
      producer.batch(
        0,
        some.map((actor) => like(POST, actor)),
      ),
    );
  }
}

async function countChunks(post: string): Promise<number> {
  return (await client.keys(`tc:{0}:members:${LIKES}:${post}:*`)).length;
}

describe('changed members in Redis', () => {
  it('a bucket of which no copy has members does not record them', async () => {
    await store.changeStore.changesSince([{ bucket: 0, after: 0 }], { limit: 500, withMembers: false });
    await store.commit(producer.batch(0, [like(POST, key(1))]));
    expect(await client.zrange('tc:{0}:changed_posts', '0', '-1')).toEqual([POST]);
    await collect(0);
    expect(await client.exists('tc:{0}:changed_posts')).toBe(0);
    await store.commit(producer.batch(0, [like(POST, key(2)), save(OTHER, key(3))]));
    expect(await client.zcard('tc:{0}:changed_posts')).toBe(4);
  });

  it('the state of members is read from the chunks in which they are when they are collected', async () => {
    await likeByMany(0, 400);
    const at = await startRecording();
    const some = Array.from({ length: 20 }, (_, i) => 20 * i);
    await store.commit(
      producer.batch(
        0,
        some.map((i) => unlike(POST, key(i))),
      ),
    );
    await store.commit(producer.batch(0, [like(POST, key(0)), save(POST, key(1))]));
    const chunks = await countChunks(POST);
    await likeByMany(400, MANY);
    expect(await countChunks(POST)).toBeGreaterThan(chunks);
    const states = new Map<string, boolean>();
    for (let page = await collect(at); ; page = await collect(page.upTo)) {
      for (const { metric, actor, on } of page.members) states.set(`${metric} ${actor.lo}`, on);
      if (page.isComplete) break;
    }
    const expected = new Map<string, boolean>([[`${SAVES} ${key(1).lo}`, true]]);
    for (const i of some) expected.set(`${LIKES} ${key(i).lo}`, i === 0);
    for (let i = 400; i < MANY; i++) expected.set(`${LIKES} ${key(i).lo}`, true);
    expect(states).toEqual(expected);
  });

  it('members are read on where a set was split between two pages', async () => {
    await likeByMany(0, 800);
    const chunks = await countChunks(POST);
    const first = await store.changeStore.readMembers([OTHER, POST], '', 10);
    expect(first.members.length).toBeLessThan(800);
    await likeByMany(800, 2_400);
    expect(await countChunks(POST)).toBeGreaterThan(chunks);
    const members = [...first.members];
    for (let cursor = first.next; cursor !== null;) {
      const page = await store.changeStore.readMembers([OTHER, POST], cursor, 10);
      members.push(...page.members);
      cursor = page.next;
    }
    const found = new Set(members.map(({ actor }) => actor.lo));
    const missing = Array.from({ length: 800 }, (_, i) => key(i).lo).filter((lo) => !found.has(lo));
    expect(missing).toEqual([]);
  });

  it('many posts with few members each are read by few calls', async () => {
    const posts = Array.from({ length: 500 }, (_, i) => postIn(i % BUCKETS, Math.floor(i / BUCKETS)));
    await Promise.all(
      Array.from({ length: BUCKETS }, (_, bucket) => {
        const own = posts.filter((_, i) => i % BUCKETS === bucket);
        return store.commit(
          producer.batch(
            bucket,
            own.flatMap((post) => [like(post, key(1)), save(post, key(2))]),
          ),
        );
      }),
    );
    await client.config('RESETSTAT');
    const { members, next } = await store.changeStore.readMembers(posts, '', 5_000);
    expect([members.length, next]).toEqual([1_000, null]);
    expect(new Set(members.map(({ post }) => post)).size).toBe(posts.length);
    // Sweeps of the store call scripts, too.
    const calls = /cmdstat_evalsha:calls=(\d+)/.exec(await client.info('commandstats'))![1];
    expect(Number(calls)).toBeLessThan(posts.length / 2);
  });
});

describe('a check of members in Redis', () => {
  /** Removes one of three members from Redis. @returns the position of a copy that has everything */
  async function loseMember(): Promise<number> {
    const at = await startRecording();
    await store.commit(
      producer.batch(
        0,
        [1, 2, 3].map((number) => like(POST, key(number))),
      ),
    );
    await store.commit(producer.batch(0, [view(OTHER)]));
    const [chunk] = await client.keys(`tc:{0}:members:${LIKES}:${POST}:*`);
    await client.srem(chunk!, (await client.smembers(chunk!))[0]!);
    return (await collect(at)).upTo;
  }

  const DRIFT = { post: POST, metric: LIKES, counted: 3, members: 2 };

  it('a lost member is found, and nothing changes unless a repair is wanted', async () => {
    const at = await loseMember();
    expect(await store.changeStore.checkMembers([OTHER, POST, 'unknown'], false)).toEqual([DRIFT]);
    expect((await store.read([POST], null))[0]!.counts).toMatchObject({ v: 1, totals: [3, 0, 0, 0] });
    expect(await collect(at)).toMatchObject({ upTo: at, posts: [] });
  });

  it('a repaired post is published, and copies get it as a change', async () => {
    const at = await loseMember();
    const other = await openRedisStore(server.url, { metrics: METRICS, buckets: BUCKETS });
    try {
      const published = new PublishedCounts(other);
      other.watch(POST);
      await other.read([POST], null);
      const before = await collect(at);
      expect(await store.changeStore.checkMembers([POST, OTHER, POST], true)).toEqual([DRIFT]);
      await published.waitFor(POST, 2);
      expect(published.latest(POST)).toMatchObject({ v: 2, totals: [2, 0, 0, 0] });
      const page = await collect(at);
      expect(page).toMatchObject({
        isComplete: true,
        posts: [{ post: POST, v: 2, totals: [2, 0, 0, 0] }],
        members: [],
      });
      expect(page.sums[LIKES]).toBe(before.sums[LIKES]! - 1);
      expect(page.posts[0]!.updatedAtMs).toBe((await store.read([POST], null))[0]!.counts.updatedAtMs);
      expect(await store.changeStore.checkMembers([POST], true)).toEqual([]);
    } finally {
      await other.close();
    }
  });

  it('members of a post that does not exist are found, and the repair makes the post', async () => {
    await client.sadd(`tc:{0}:members:${SAVES}:${OTHER}:0`, '7', '8');
    const drift = { post: OTHER, metric: SAVES, counted: 0, members: 2 };
    expect(await store.changeStore.checkMembers([OTHER], true)).toEqual([drift]);
    expect((await store.read([OTHER], null))[0]!.counts.totals).toEqual([0, 0, 0, 2]);
    expect(await store.changeStore.checkMembers([OTHER], true)).toEqual([]);
  });

  it('a check that Redis rejects changes nothing', async () => {
    await loseMember();
    await client.set('tc:{0}:changed_posts', 'in the way');
    await expect(store.changeStore.checkMembers([POST], true)).rejects.toThrow(/WRONGTYPE/);
    expect((await store.read([POST], null))[0]!.counts).toMatchObject({ v: 1, totals: [3, 0, 0, 0] });
  });
});

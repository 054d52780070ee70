import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import type { Redis } from 'ioredis';
import type { Key64 } from '../../src/counters/ids.js';
import { LIKES, VIEWS } from '../../src/counters/metrics.js';
import { MILESTONE_FINAL_MS } from '../../src/counters/milestones.js';
import { APPLIED, DUPLICATE, ON, REACHED } from '../../src/counters/operation.js';
import { COUNT_MAX } from '../../src/counters/pn-counter.js';
import type { Delta } from '../../src/counters/replication/delta.js';
import { firstStampAt } from '../../src/counters/replication/hybrid-clock.js';
import type { MilestoneNews } from '../../src/store/milestone-store.js';
import type { RedisStore } from '../../src/store/redis/redis-store.js';
import { adjust, BUCKETS, key, like, METRICS, postIn, Producer, START_MS, view } from '../contract/operations.js';
import { applied } from '../contract/store-under-test.js';
import { type RedisServer, startRedis, stopRedis } from '../support/redis-server.js';
import { openRedisStore } from '../support/redis-store.js';
import { until } from '../support/until.js';

const POST = postIn(0);
const OTHER = postIn(0, 1);
const SESSION = key(9);
/** No sweep publishes counts during a test. */
const PUBLISH_MS = 60_000;
const NOBODY = { actor: null, session: null, seq: 0, kind: 'add', value: 0, missed: true };
/** The ends of the range of 64 bits, and a key that is no double. */
const LEAST = { hi: 0x80000000, lo: 0 };
const MOST = { hi: 0x7fffffff, lo: 0xffffffff };

let server: RedisServer;
let client: Redis;
let store: RedisStore;
let producer: Producer;

beforeAll(async () => {
  server = await startRedis();
  client = server.client();
});
afterAll(stopRedis);
beforeEach(async () => {
  await client.flushall();
  store = await openRedisStore(server.url, { metrics: METRICS, buckets: BUCKETS, publishIntervalMs: PUBLISH_MS });
  producer = new Producer('prod-one');
});
afterEach(() => store.close());

async function arm(n: number, metric = VIEWS, post = POST, at = store): Promise<void> {
  expect(await at.milestones.arm(post, metric, n)).toMatchObject({ kind: 'armed' });
}

/** Watches the post. @returns a list that gets its news */
async function watchNews(at: RedisStore): Promise<MilestoneNews[]> {
  const news: MilestoneNews[] = [];
  at.milestones.reached.subscribe((more) => news.push(...more));
  at.watch(POST);
  await at.read([POST], null);
  return news;
}

async function dumpAll(except: string): Promise<Map<string, string>> {
  const keys = (await client.keys('*')).filter((one) => one !== except).sort();
  const dumps = await Promise.all(keys.map((one) => client.dumpBuffer(one)));
  return new Map(keys.map((one, i) => [one, dumps[i]!.toString('hex')]));
}

it('a batch in a bucket without milestones reaches none after one in a bucket with some, in the same call', async () => {
  await arm(9);
  const other = new Producer('prod-two');
  await applied(store, other.batch(1, [view(postIn(1))]));
  await client.config('RESETSTAT');
  const [first, second] = await Promise.all([
    applied(store, producer.batch(0, [view(POST)])),
    applied(store, other.batch(1, [view(postIn(1), 10)])),
  ]);
  expect(await client.info('commandstats')).toMatch(/cmdstat_evalsha:calls=1,/);
  expect([first.outcomes[0], second.outcomes[0]]).toEqual([APPLIED, APPLIED]);
  expect(await store.milestones.read(postIn(1), VIEWS)).toMatchObject({ armed: [], reached: [] });
});

describe('a call that Redis rejects', () => {
  it.each(['milestones', 'milestone_records'])(
    'a commit that is rejected because tc:{0}:%s has a wrong type changes nothing',
    async (name) => {
      const wrong = `tc:{0}:${name}`;
      await watchNews(store);
      await arm(2);
      await store.commit(producer.batch(0, [view(POST)]));
      const original = (await client.exists(wrong)) === 1 ? await client.dumpBuffer(wrong) : null;
      await client.set(wrong, 'in the way');
      const before = await dumpAll(wrong);
      const batch = producer.batch(0, [view(OTHER), view(POST, 1, { session: SESSION, seq: 1 })]);
      await expect(store.commit(batch)).rejects.toThrow(/WRONGTYPE/);
      expect(await dumpAll(wrong)).toEqual(before);
      await client.del(wrong);
      if (original !== null) await client.restore(wrong, 0, original);
      expect(await store.commit(batch)).toMatchObject({ outcomes: Uint8Array.of(APPLIED, APPLIED | REACHED) });
      expect((await store.milestones.read(POST, VIEWS)).reached).toMatchObject([{ n: 2, session: SESSION }]);
    },
  );

  it('a milestone is not armed if the key of milestones has a wrong type', async () => {
    await client.set('tc:{0}:milestones', 'in the way');
    await expect(store.milestones.arm(POST, VIEWS, 5)).rejects.toThrow(/WRONGTYPE/);
    expect(await client.exists('tc:{0}')).toBe(0);
  });

  it('a milestone is disarmed, and none is armed, while Redis is out of memory', async () => {
    await arm(5);
    await client.config('SET', 'maxmemory', '1');
    try {
      await expect(store.milestones.arm(POST, VIEWS, 6)).rejects.toThrow(/OOM/);
      expect(await store.milestones.disarm(POST, VIEWS, 5)).toBe(true);
    } finally {
      await client.config('SET', 'maxmemory', '0');
    }
    expect(await client.exists('tc:{0}', 'tc:{0}:milestones')).toBe(0);
  });
});

describe('a record in Redis', () => {
  it('the largest numbers, and the keys at the ends of the range of 64 bits, are exact', async () => {
    await arm(COUNT_MAX);
    await arm(COUNT_MAX - 1);
    const winner = (value: number, actor: Key64, session: Key64) => ({
      ...view(POST, value, { session, seq: COUNT_MAX }),
      actor,
    });
    const operations = [view(POST, COUNT_MAX - 3), winner(2, LEAST, MOST), winner(1, MOST, LEAST)];
    const { outcomes } = await applied(store, producer.batch(0, operations, START_MS + 1));
    expect([...outcomes]).toEqual([APPLIED, APPLIED | REACHED, APPLIED | REACHED]);
    const common = { seq: COUNT_MAX, v: 1, epoch: 1, region: 'local', atMs: START_MS + 1, missed: false };
    expect((await store.milestones.read(POST, VIEWS)).reached).toMatchObject([
      { ...common, n: COUNT_MAX - 1, value: 2, total: COUNT_MAX - 1, actor: LEAST, session: MOST },
      { ...common, n: COUNT_MAX, value: 1, total: COUNT_MAX, actor: MOST, session: LEAST },
    ]);
    expect(await store.milestones.arm(POST, VIEWS, COUNT_MAX - 2)).toEqual({ kind: 'passed', total: COUNT_MAX });
    const retried = await applied(store, producer.batch(0, [winner(2, LEAST, MOST), winner(1, MOST, LEAST)]));
    expect([...retried.outcomes]).toEqual([DUPLICATE | REACHED, DUPLICATE | REACHED]);
  });

  it('a record is final when it is old enough by the clock of the server', async () => {
    await arm(1);
    await store.commit(producer.batch(0, [view(POST)], START_MS));
    const field = `${POST} ${VIEWS}`;
    const packed = (await client.hgetBuffer('tc:{0}:milestone_records', field))!;
    // The time of the commit is the last number but one, in 8 bytes; the region and whether it is final follow.
    const at = packed.length - 11;
    const recordedAtMs = Number(packed.readBigUInt64BE(at));
    const readWhenOlder = async (ms: number) => {
      packed.writeBigUInt64BE(BigInt(recordedAtMs - ms), at);
      await client.hset('tc:{0}:milestone_records', field, packed);
      return (await store.milestones.read(POST, VIEWS)).reached[0]!;
    };
    expect(await readWhenOlder(0)).toMatchObject({ recordedAtMs, atMs: START_MS, final: false });
    expect(await readWhenOlder(MILESTONE_FINAL_MS / 2)).toMatchObject({ final: false });
    expect(await readWhenOlder(MILESTONE_FINAL_MS)).toMatchObject({ final: true });
  });

  it('a repair of members leaves a record without an actor, and viewers get the news', async () => {
    const news = await watchNews(store);
    for (const n of [2, 3]) await arm(n, LIKES);
    await store.commit(producer.batch(0, [like(POST, key(1))]));
    await client.sadd(`tc:{0}:members:${LIKES}:${POST}:0`, '77');
    expect(await store.changeStore.checkMembers([POST], true)).toMatchObject([{ counted: 1, members: 2 }]);
    await until(() => news.length > 0, 'news of the milestone');
    expect(news).toEqual([{ post: POST, metric: LIKES, n: 2, v: 2, atMs: START_MS }]);
    const views = await store.milestones.read(POST, LIKES);
    expect(views).toMatchObject({ armed: [3], reached: [{ n: 2, total: 2, v: 2, epoch: 1, ...NOBODY }] });
    const { outcomes } = await applied(store, producer.batch(0, [like(POST, key(2))]));
    expect([...outcomes]).toEqual([APPLIED | ON | REACHED]);
  });

  it('a merge leaves records without an actor, and viewers get the news', async () => {
    const options = { metrics: METRICS, buckets: BUCKETS, publishIntervalMs: PUBLISH_MS, region: 'eu' };
    await client.flushall();
    const regional = await openRedisStore(server.url, options);
    try {
      const news = await watchNews(regional);
      await arm(5, VIEWS, POST, regional);
      await arm(50, VIEWS, POST, regional);
      await arm(1, LIKES, POST, regional);
      await arm(1, VIEWS, OTHER, regional);
      await regional.commit(producer.batch(0, [view(POST, 2)]));
      await regional.replication!.merge([buildDelta(firstStampAt(START_MS))]);
      await until(() => news.length > 1, 'news of both milestones');
      expect(new Set(news)).toEqual(
        new Set([
          { post: POST, metric: VIEWS, n: 5, v: 2, atMs: START_MS },
          { post: POST, metric: LIKES, n: 1, v: 2, atMs: START_MS },
        ]),
      );
      const read = (metric: number) => regional.milestones.read(POST, metric);
      const record = { ...NOBODY, v: 2, epoch: 1, region: 'eu', atMs: START_MS };
      expect(await read(VIEWS)).toMatchObject({ armed: [50], reached: [{ n: 5, total: 7, ...record }] });
      expect(await read(LIKES)).toMatchObject({ armed: [], reached: [{ n: 1, total: 1, ...record }] });
      expect(await regional.milestones.read(OTHER, VIEWS)).toMatchObject({ armed: [1], reached: [] });
    } finally {
      await regional.close();
    }
  });
});

/** A delta of region us: five views and a like of Ann. */
function buildDelta(stamp: number): Delta {
  const US = { region: 'us', epoch: 3, nonce: 9 };
  const entries = [{ metric: VIEWS, incarnation: US, p: 5, n: 0 }];
  const registers = [{ metric: LIKES, actor: key(1), stamp, on: true }];
  const posts = [{ post: POST, updatedAtMs: START_MS, entries, registers, members: [] }];
  const source = { source: US, startedAtStamp: 0, predecessors: [], ackedUpTo: 0, stableStamp: 0 };
  return { kind: 'changes', bucket: 0, ...source, fullSyncReceiver: null, after: 0, upTo: stamp, posts };
}

describe('news of milestones', () => {
  it('every milestone is published at once, though counts of the post are not due', async () => {
    const other = await openRedisStore(server.url, {
      metrics: METRICS,
      buckets: BUCKETS,
      publishIntervalMs: PUBLISH_MS,
    });
    try {
      const news = await watchNews(other);
      for (const n of [1, 2, 3]) await arm(n);
      for (let i = 0; i < 3; i++) await store.commit(producer.batch(0, [view(POST)]));
      await until(() => news.length >= 3, 'all news');
      expect(news.map(({ n, v }) => [n, v])).toEqual([
        [1, 1],
        [2, 2],
        [3, 3],
      ]);
    } finally {
      await other.close();
    }
  });

  it('a malformed message is ignored', async () => {
    const news = await watchNews(store);
    await arm(1);
    for (const message of ['m', 'm[1]', 'm{}', 'm[99,1,1,1]', 'milestone']) {
      await client.spublish(`tc:{0}:counts:${POST}`, message);
    }
    await store.commit(producer.batch(0, [view(POST)]));
    await until(() => news.length > 0, 'news of the milestone');
    expect(news).toMatchObject([{ n: 1 }]);
  });
});

describe('the commands of a commit', () => {
  /** Commands of this test, of the gateway's probes, and those that each script may call at any time. */
  const OTHERS = new Set(['info', 'config|resetstat', 'ping', 'evalsha', 'time']);
  /** A commit never calls it; a sweep does. */
  const SWEEP_COMMAND = 'scard';
  let seq = 0;

  /** @returns calls by command of a commit during which no sweep ran */
  async function countCommands(post: string): Promise<ReadonlyMap<string, number>> {
    for (;;) {
      await client.config('RESETSTAT');
      await store.commit(producer.batch(0, [view(post, 1, { session: SESSION, seq: ++seq }), adjust(post, 1)]));
      const info = await client.info('commandstats');
      const calls = [...info.matchAll(/^cmdstat_([a-z|]+):calls=(\d+)/gm)].map(
        ([, name, n]) => [name!, Number(n)] as const,
      );
      const commands = new Map(calls.filter(([name]) => !OTHERS.has(name)));
      if (!commands.has(SWEEP_COMMAND)) return commands;
    }
  }

  it('a bucket pays no command more for milestones, and one HMGET a batch if they are armed for more than 16 metrics of posts', async () => {
    await store.commit(producer.batch(0, [view(OTHER)]));
    await countCommands(POST);
    const without = await countCommands(POST);
    expect(without.get('hmget')).toBeGreaterThan(0);
    await arm(1_000, VIEWS, OTHER);
    for (const post of [POST, OTHER]) expect(await countCommands(post)).toEqual(without);
    const others = Array.from({ length: 16 }, (_, i) => postIn(0, 2 + i));
    for (const post of others) await arm(1_000, VIEWS, post);
    const withOneMore = new Map(without).set('hmget', without.get('hmget')! + 1);
    for (const post of [POST, OTHER]) expect(await countCommands(post)).toEqual(withOneMore);
    expect(await store.milestones.disarm(others[0]!, VIEWS, 1_000)).toBe(true);
    for (const post of [POST, OTHER]) expect(await countCommands(post)).toEqual(without);
    await applied(store, producer.batch(0, [view(OTHER, 1_000)]));
    expect((await store.milestones.read(OTHER, VIEWS)).reached).toHaveLength(1);
    expect(await countCommands(OTHER)).toEqual(without);
  });
});

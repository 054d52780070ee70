import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from '@jest/globals';
import type { Redis } from 'ioredis';
import { MARK_GENERATION_MS } from '../../src/counters/bucket.js';
import type { Batch } from '../../src/counters/batch.js';
import { LIKES, type Metrics, VIEWS } from '../../src/counters/metrics.js';
import type { HomeMode, ReachedMilestone } from '../../src/counters/milestones.js';
import { APPLIED, ELSEWHERE, type Operation, REACHED } from '../../src/counters/operation.js';
import type { Delta } from '../../src/counters/replication/delta.js';
import type { RedisStore } from '../../src/store/redis/redis-store.js';
import { CALL_SETTLED_MAX } from '../../src/store/redis/replication/replication-scripts.js';
import {
  BUCKETS,
  key,
  like,
  METRICS,
  postIn,
  RULED_METRICS,
  Producer,
  START_MS,
  view,
} from '../contract/operations.js';
import { applied } from '../contract/store-under-test.js';
import { type RedisServer, startRedis, stopRedis } from '../support/redis-server.js';
import { makeMilestonesFinal, openRedisStore } from '../support/redis-store.js';

const POST = postIn(0);
const SESSION = key(9);

let server: RedisServer;
let client: Redis;
let store: RedisStore;
let producer: Producer;

async function open(peers: readonly string[], metrics: Metrics = METRICS): Promise<void> {
  store = await openRedisStore(server.url, { metrics, buckets: BUCKETS, region: 'eu', peers });
}

beforeAll(async () => {
  server = await startRedis();
  client = server.client();
});
afterAll(stopRedis);
beforeEach(async () => {
  await client.flushall();
  producer = new Producer('prod-one');
});
afterEach(() => store.close());

/** Receives from another region which one decides. */
async function receiveHome(
  number: number,
  mode: HomeMode,
  metric = VIEWS,
  postId = POST,
  reached: readonly ReachedMilestone[] = [],
): Promise<void> {
  const about = { bucket: 0, after: 0, upTo: 0, ackedUpTo: 0, stableStamp: 0, fullSyncReceiver: null };
  const source = { source: { region: 'us', epoch: 1, nonce: 5 }, startedAtStamp: 0, predecessors: [] };
  const home = { metric, home: { region: 'us', number, mode }, confirmations: [], reached };
  const post = { post: postId, updatedAtMs: 0, entries: [], registers: [], members: [], homes: [home] };
  const delta: Delta = { kind: 'changes', ...about, ...source, posts: [post] };
  await store.replication!.merge([delta]);
}

it('a retry of what was forwarded is forwarded again after the release, until its mark has expired', async () => {
  await open(['us']);
  await receiveHome(1, 'strict');
  const operation = view(POST, 1, { session: SESSION, seq: 1 });
  const send = async (atMs: number): Promise<number> => {
    const { outcomes } = await applied(store, producer.batch(0, [operation], atMs));
    return outcomes[0]!;
  };
  expect(await send(START_MS)).toBe(ELSEWHERE);
  await receiveHome(2, 'released');
  expect(await send(START_MS + MARK_GENERATION_MS)).toBe(ELSEWHERE);
  expect(await store.milestones.forwardTo([operation])).toEqual(['us']);
  expect(await client.keys('tc:{0}:forward_marks:*')).toHaveLength(1);
  expect(await send(START_MS + 2 * MARK_GENERATION_MS)).toBe(APPLIED);
  expect(await client.keys('tc:{0}:forward_marks:*')).toEqual([]);
});

it('a retry of a choice that was forwarded for the option that it puts off is forwarded again after the release', async () => {
  await open(['us'], RULED_METRICS);
  const [yes, no] = ['yes', 'no'].map((name) => RULED_METRICS.byName(name)!.index) as [number, number];
  await receiveHome(1, 'strict', no);
  const mark = { session: SESSION, seq: 1 };
  const choose: Operation = { post: POST, metric: yes, kind: 'set', value: 1, actor: key(1), ...mark };
  const send = async (): Promise<number> => {
    const { outcomes } = await applied(store, producer.batch(0, [choose], START_MS));
    return outcomes[0]!;
  };
  expect(await send()).toBe(ELSEWHERE);
  await receiveHome(2, 'released', no);
  expect(await send()).toBe(ELSEWHERE);
  expect(await store.milestones.forwardTo([choose])).toEqual(['us']);
});

it('an event of a log is counted here whichever region decides, because nobody would forward it', async () => {
  await open(['us']);
  await receiveHome(1, 'strict');
  const log = new Producer('log');
  const fromLog: Batch = { ...log.batch(0, [view(POST)]), afterInLog: 0 };
  expect([...(await applied(store, fromLog)).outcomes]).toEqual([APPLIED]);
  const direct = await applied(store, producer.batch(0, [view(POST)]));
  expect(direct.outcomes[0]).toBe(ELSEWHERE);
});

it('the region that decided has a record marked as final once no failover can lose it', async () => {
  await open([]);
  await store.replication!.acquireLeases(START_MS);
  await store.milestones.arm(POST, VIEWS, 2, { mode: 'strict' });
  await applied(store, producer.batch(0, [view(POST, 2)]));
  const sent = async (): Promise<unknown> => {
    await store.replication!.acquireLeases(START_MS);
    const [delta] = await store.replication!.readPosts([POST]);
    return delta!.posts[0]!.homes![0]!.reached[0]!.isFinal;
  };
  expect(await sent()).toBeUndefined();
  await makeMilestonesFinal([client]);
  expect(await sent()).toBe(true);
});

it('the record of a toggle that reaches a milestone travels with the commit', async () => {
  await open([]);
  await store.replication!.acquireLeases(START_MS);
  await store.milestones.arm(POST, LIKES, 1, { mode: 'order' });
  const [status] = await store.replication!.bucketStatus([0]);
  expect((await applied(store, producer.batch(0, [like(POST, key(1))]))).outcomes[0]! & REACHED).toBe(REACHED);
  const request = { bucket: 0, after: status!.clock, ackedUpTo: 0 };
  const [delta] = await store.replication!.changesSince([request], ['us'], 100);
  expect(delta!.posts[0]!.homes![0]!.reached).toMatchObject([{ n: 1, total: 1 }]);
});

it('a bucket costs no call to settle homes once nothing of them can change, and its homes keep their numbers', async () => {
  await open(['us']);
  const posts = [POST, postIn(0, 1)];
  for (const post of posts) await receiveHome(4, 'strict', VIEWS, post);
  await store.replication!.acquireLeases(START_MS);
  await client.config('RESETSTAT');
  await store.replication!.acquireLeases(START_MS);
  expect(await client.info('commandstats')).toMatch(/cmdstat_evalsha:calls=1,/);
  await receiveHome(3, 'released');
  for (const post of posts)
    expect(await store.milestones.read(post, VIEWS)).toMatchObject({ home: { number: 4, mode: 'strict' } });
});

it('a call settles a bounded number of homes, and the next ones those that follow, over and over', async () => {
  await open([]);
  const posts = Array.from({ length: CALL_SETTLED_MAX + 20 }, (_, i) => postIn(0, i)).sort();
  await store.replication!.acquireLeases(START_MS);
  for (const post of posts) await store.milestones.arm(post, VIEWS, 2, { mode: 'strict' });
  for (const post of posts) await applied(store, producer.batch(0, [view(post, 2)]));
  const settle = async (): Promise<string[]> => {
    await store.replication!.acquireLeases(START_MS);
    return client.zrange('tc:{0}:unsettled_homes', '0', '-1');
  };
  // The records are not final. The three calls settle the first posts, the others, and the first again.
  for (let call = 0; call < 3; call++) expect(await settle()).toEqual(posts);
  await makeMilestonesFinal([client]);
  expect(await settle()).toEqual(posts.slice(0, CALL_SETTLED_MAX));
  expect(await settle()).toEqual([]);
  expect(
    (await store.replication!.readPosts(posts)).map(({ posts: [post] }) => post!.homes![0]!.reached[0]!.isFinal),
  ).toEqual(posts.map(() => true));
});

it('a record of this region that comes back is marked as final here', async () => {
  await open(['us']);
  await store.replication!.acquireLeases(START_MS);
  const record = { n: 2, actor: null, session: null, seq: 0, kind: 'add', value: 2, total: 2, v: 1 } as const;
  const times = { atMs: START_MS, recordedAtMs: START_MS, missed: false };
  const reached = [{ ...record, ...times, region: 'eu', epoch: 1 }];
  await receiveHome(1, 'order');
  await store.replication!.acquireLeases(START_MS);
  expect(await client.exists('tc:{0}:unsettled_homes')).toBe(0);
  await receiveHome(1, 'order', VIEWS, POST, reached);
  await store.replication!.acquireLeases(START_MS);
  const [delta] = await store.replication!.readPosts([POST]);
  expect(delta!.posts[0]!.homes![0]!.reached).toMatchObject([{ n: 2, region: 'eu', isFinal: true }]);
});

it('a replay is counted here again, although another region decides now, but for what was forwarded since', async () => {
  await open(['us']);
  await receiveHome(1, 'strict');
  const [first, second] = [1, 2].map((seq) => view(POST, 1, { session: SESSION, seq })) as [Operation, Operation];
  const forwarded = await applied(store, producer.batch(0, [first]));
  const replay = await applied(store, { ...producer.batch(0, [first, second, view(POST)]), isReplay: true });
  const live = await applied(store, producer.batch(0, [view(POST)]));
  expect([forwarded, replay, live].map(({ outcomes }) => [...outcomes])).toEqual([
    [ELSEWHERE],
    [ELSEWHERE, APPLIED, APPLIED],
    [ELSEWHERE],
  ]);
});

it('a replay that might reach a milestone changes nothing while this region may not decide', async () => {
  await open(['us']);
  await store.replication!.acquireLeases(START_MS);
  await store.milestones.arm(POST, VIEWS, 3, { mode: 'strict', from: 1 });
  expect((await applied(store, producer.batch(0, [view(POST)]))).outcomes[0]).toBe(APPLIED);
  const batch = producer.batch(0, [view(POST), view(POST)]);
  expect(await store.commit({ ...batch, isReplay: true })).toEqual({ kind: 'undecided', last: 1 });
  const [read] = await store.read([POST], null);
  expect(read!.counts.totals[VIEWS]).toBe(1);
  expect([...(await applied(store, batch)).outcomes]).toEqual([APPLIED, ELSEWHERE]);
});

it('a repair of what a post counts decides nothing before the other regions have confirmed the home', async () => {
  await open(['us']);
  await store.milestones.arm(POST, LIKES, 3, { mode: 'strict' });
  await applied(store, producer.batch(0, [like(POST, key(1))]));
  await client.sadd(`tc:{0}:members:${LIKES}:${POST}:0`, '2', '3', '4');
  expect(await store.changeStore.checkMembers([POST], true)).toMatchObject([{ counted: 1, members: 4 }]);
  const { armed, reached, waitingFor } = await store.milestones.read(POST, LIKES);
  expect({ armed, reached, waitingFor }).toEqual({ armed: [3], reached: [], waitingFor: ['us'] });
});

import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from '@jest/globals';
import type { HomeMode } from '../../src/counters/milestones.js';
import { APPLIED, ELSEWHERE, ON, type Operation } from '../../src/counters/operation.js';
import type { Delta } from '../../src/counters/replication/delta.js';
import type { RedisStore } from '../../src/store/redis/redis-store.js';
import { BUCKETS, key, postIn, Producer, RULED_METRICS, START_MS } from '../contract/operations.js';
import { applied } from '../contract/store-under-test.js';
import { type RedisServer, startRedis, stopRedis } from '../support/redis-server.js';
import { openRedisStore } from '../support/redis-store.js';

const POST = postIn(0);
const N = 9;
const [YES, NO] = ['yes', 'no'].map((name) => RULED_METRICS.byName(name)!.index) as [number, number];
const STRICT = { mode: 'strict', from: 0 } as const;

let server: RedisServer;
let store: RedisStore;
let producer: Producer;

beforeAll(async () => {
  server = await startRedis();
});
afterAll(stopRedis);
beforeEach(async () => {
  await server.client().flushall();
  producer = new Producer('prod-one');
  store = await openRedisStore(server.url, { metrics: RULED_METRICS, buckets: BUCKETS, region: 'eu', peers: ['us'] });
});
afterEach(() => store.close());

/** Receives from another region which one decides about an option. */
async function receiveHome(metric: number, number: number, mode: HomeMode = 'strict'): Promise<void> {
  const about = { bucket: 0, after: 0, upTo: 0, ackedUpTo: 0, stableStamp: 0, fullSyncReceiver: null };
  const source = { source: { region: 'us', epoch: 1, nonce: 5 }, startedAtStamp: 0, predecessors: [] };
  const homes = [{ metric, home: { region: 'us', number, mode }, confirmations: [], reached: [] }];
  const post = { post: POST, updatedAtMs: 0, entries: [], registers: [], members: [], homes };
  const delta: Delta = { kind: 'changes', ...about, ...source, posts: [post] };
  await store.replication!.merge([delta]);
}

async function outcomeOf(metric: number): Promise<number> {
  const operation: Operation = { post: POST, metric, kind: 'set', value: 1, actor: key(1), session: null, seq: 0 };
  return (await applied(store, producer.batch(0, [operation]))).outcomes[0]!;
}

async function homeOf(metric: number): Promise<unknown> {
  return (await store.milestones.read(POST, metric)).home;
}

it('an option is armed only in the region that decides about another option of the choice', async () => {
  await receiveHome(YES, 1);
  expect(await store.milestones.arm(POST, NO, N, STRICT)).toEqual({ kind: 'choice', home: 'us' });
  expect(await store.milestones.arm(POST, NO, N, { mode: 'order' })).toMatchObject({ kind: 'armed' });
  await receiveHome(YES, 2, 'released');
  await store.milestones.disarm(POST, NO, N);
  expect(await store.milestones.arm(POST, NO, N, STRICT)).toMatchObject({ kind: 'armed' });
});

it('a region that has armed another option at the same time gives way to the home that comes first', async () => {
  await store.milestones.arm(POST, NO, N, STRICT);
  await receiveHome(YES, 1);
  expect((await store.milestones.read(POST, NO)).armed).toEqual([]);
  await store.replication!.acquireLeases(START_MS);
  expect(await homeOf(NO)).toEqual({ region: 'eu', number: 2, mode: 'released' });
  expect(await outcomeOf(NO)).toBe(ELSEWHERE);
});

it('a region whose home comes first keeps what is armed', async () => {
  await store.milestones.arm(POST, NO, N, STRICT);
  await store.milestones.disarm(POST, NO, N);
  await store.milestones.arm(POST, NO, N, STRICT);
  await receiveHome(YES, 1);
  expect((await store.milestones.read(POST, NO)).armed).toEqual([N]);
  expect(await homeOf(NO)).toEqual({ region: 'eu', number: 3, mode: 'strict' });
});

it('a takeover of one option takes over all, and a choice waits until all have confirmed it', async () => {
  await receiveHome(YES, 4);
  expect(await store.milestones.arm(POST, NO, N, { ...STRICT, takesOver: true })).toMatchObject({ kind: 'armed' });
  expect(await homeOf(YES)).toEqual({ region: 'eu', number: 5, mode: 'strict' });
  expect(await homeOf(NO)).toEqual({ region: 'eu', number: 1, mode: 'strict' });
  expect(await outcomeOf(NO)).toBe(ELSEWHERE);
  const counted = { post: POST, metric: YES, kind: 'set', value: 1, actor: key(1), session: null, seq: 0 } as const;
  const replay = await applied(store, { ...producer.batch(0, [counted]), isReplay: true });
  expect(replay.outcomes[0]).toBe(APPLIED | ON);
});

import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { Redis } from 'ioredis';
import { REGION_NUMBERS } from '../../src/counters/replication/hybrid-clock.js';
import { LIKES, VIEWS } from '../../src/counters/metrics.js';
import { toKeyText } from '../../src/counters/ids.js';
import { hashSlot } from '../../src/store/redis/client/hash-slot.js';
import type { RedisStore } from '../../src/store/redis/redis-store.js';
import { BUCKETS, key, Producer, like, METRICS, postIn, START_MS, unlike, view } from '../contract/operations.js';
import { type RedisCluster, startCluster } from '../support/redis-cluster.js';
import { type RedisServer, stopRedis } from '../support/redis-server.js';
import { openRedisStore } from '../support/redis-store.js';
import { until } from '../support/until.js';
import { ViewersOfPost } from '../support/viewers-of-post.js';

const [ANN, BOB] = [key(1), key(2)];
const WITH_MEMBERS = { limit: 500, withMembers: true };
const DAY_MS = 86_400_000;
/** The keys that every commit declares. A script derives the other keys of a bucket. */
const DECLARED = ['', ':producers', ':producers:previous', ':viewers', ':publish_after', ':publish_due'];

let cluster: RedisCluster;
let store: RedisStore;

/** Creates all declared keys. Redis rejects a command that names a missing one until the slot has moved. */
async function createKeys(client: Redis, bucket: number): Promise<void> {
  for (const hash of ['producers:previous', 'viewers', 'marks:1:0', 'marks:2:0'])
    await client.hset(`tc:{${bucket}}:${hash}`, 'none', '0');
  for (const set of ['publish_after', 'publish_due'])
    await client.zadd(`tc:{${bucket}}:${set}`, START_MS + 1e12, 'none');
}

/** Begins to move the slot of the bucket without moving any key. */
async function beginMove(bucket: number): Promise<{ readonly from: Redis; readonly to: RedisServer }> {
  const slot = hashSlot(`tc:{${bucket}}`);
  const owner = await cluster.findPrimary(slot);
  const to = cluster.nodes.find(({ port }) => port !== owner.port)!;
  const from = owner.client();
  await createKeys(from, bucket);
  const [fromId, toId] = await Promise.all([from, to.client()].map((node) => node.cluster('MYID')));
  await to.client().cluster('SETSLOT', slot, 'IMPORTING', String(fromId));
  await from.cluster('SETSLOT', slot, 'MIGRATING', String(toId));
  return { from, to };
}

describe('a bucket whose slot moves', () => {
  beforeAll(async () => {
    cluster = await startCluster({ primaries: 3, replicasEach: 0 });
    store = await openRedisStore(cluster.url, { metrics: METRICS, buckets: BUCKETS });
  });
  afterAll(async () => {
    await store.close();
    await stopRedis();
  });

  it('a bucket whose slot moves commits a whole batch that empties a set, fills it again and begins a day of producer states', async () => {
    const post = postIn(0);
    await store.commit(new Producer('prod-one').batch(0, [like(post, ANN)]));
    const { from } = await beginMove(0);
    // The state ends with the start of the day of producer states, in 8 bytes.
    const state = await from.hgetBuffer('tc:{0}', 'sizes');
    state!.writeBigUInt64BE(BigInt(Date.now() - 2 * DAY_MS), state!.length - 8);
    await from.hset('tc:{0}', 'sizes', state!);

    const result = await store.commit(new Producer('prod-two').batch(0, [unlike(post, ANN), like(post, BOB)]));
    expect(result.kind === 'applied' && [...result.outcomes]).toEqual([1, 5]);
    expect(await from.hexists('tc:{0}:producers:previous', 'prod-two')).toBe(1);
    const [ann, bob] = await Promise.all([ANN, BOB].map((actor) => store.read([post], actor)));
    expect([ann![0]!.on, bob![0]!.on, bob![0]!.counts.totals[0]]).toEqual([0, 1, 1]);
  });

  it('a bucket whose slot moves rejects a batch until its chunks have moved, and then commits it once', async () => {
    const post = postIn(1);
    const producer = new Producer('prod-six');
    await store.commit(producer.batch(1, [view(post, 5), like(post, ANN)]));
    const { from, to } = await beginMove(1);
    const declared = DECLARED.map((name) => `tc:{1}${name}`);
    await from.migrate(to.host, to.port, '', 0, 5_000, 'KEYS', ...declared);

    const batch = producer.batch(1, [view(post, 2), like(post, ANN), like(post, BOB)]);
    await expect(store.commit(batch)).rejects.toThrow('non local key');
    await cluster.moveSlot(hashSlot('tc:{1}'), to);
    await until(
      () =>
        store.commit(batch).then(
          ({ kind }) => kind === 'applied',
          () => false,
        ),
      'the slot has moved',
    );
    const [read] = await store.read([post], BOB);
    expect(read).toMatchObject({ counts: { v: 2, totals: [2, 7, 0, 0] }, on: 1 });
  });

  it('a bucket whose slot moves records each batch that it commits, and no batch that it rejects', async () => {
    const post = postIn(3);
    const producer = new Producer('prod-ten');
    await store.commit(producer.batch(3, [view(post)]));
    const [before] = await store.changeStore.changesSince([{ bucket: 3, after: 0 }], WITH_MEMBERS);
    await store.commit(producer.batch(3, [view(post), like(post, ANN)]));
    const { from, to } = await beginMove(3);
    const batch = producer.batch(3, [view(post)]);
    expect(await store.commit(batch)).toMatchObject({ kind: 'applied' });
    await from.migrate(to.host, to.port, '', 0, 5_000, 'KEYS', 'tc:{3}:changed_posts');
    const rejected = producer.batch(3, [view(post)]);
    await expect(store.commit(rejected)).rejects.toThrow('non local key');
    await expect(store.changeStore.changesSince([{ bucket: 3, after: before!.upTo }], WITH_MEMBERS)).rejects.toThrow();
    await from.migrate(to.host, to.port, '', 0, 5_000, 'KEYS', `tc:{3}:members:0:${post}:0`);
    await expect(store.changeStore.readMembers([post], '', 10)).rejects.toThrow();
    await expect(store.changeStore.checkMembers([post], true)).rejects.toThrow();
    await cluster.moveSlot(hashSlot('tc:{3}'), to);
    const isApplied = (): Promise<boolean> =>
      store.commit(rejected).then(
        ({ kind }) => kind === 'applied',
        () => false,
      );
    await until(isApplied, 'the slot has moved');
    const [page] = await store.changeStore.changesSince([{ bucket: 3, after: before!.upTo }], WITH_MEMBERS);
    expect(page).toMatchObject({ isComplete: true, sums: [1, 3, 0, 0], posts: [{ post, v: 4 }] });
    expect(page!.members).toEqual([{ post, metric: LIKES, actor: ANN, on: true }]);
    expect(await store.changeStore.checkMembers([post], true)).toEqual([]);
  });

  it('a bucket whose slot moves counts each person once as soon as it has moved', async () => {
    const post = postIn(3, 1);
    const [ada, bob, cy] = [1, 2, 3].map((number) => toKeyText(key(number))) as [string, string, string];
    const other = await openRedisStore(cluster.url, { metrics: METRICS, buckets: BUCKETS });
    try {
      const [here, there] = [new ViewersOfPost(), new ViewersOfPost()];
      const readLive = async (): Promise<number> => (await store.read([post], null))[0]!.counts.live;
      store.reportViewers(new Map([[post, here.change(1, [ada])]]));
      other.reportViewers(new Map([[post, there.change(0, [ada, bob])]]));
      await until(async () => (await readLive()) === 3, 'both stores have reported');
      const { from, to } = await beginMove(3);
      await from.migrate(to.host, to.port, '', 0, 5_000, 'KEYS', 'tc:{3}:people');
      store.reportViewers(new Map([[post, here.change(2, [ada, cy])]]));
      other.reportViewers(new Map([[post, there.change(0, [ada])]]));
      await cluster.moveSlot(hashSlot('tc:{3}'), to);
      await until(async () => (await readLive()) === 4, 'both stores have reported again');
      const people = await to.client().hgetallBuffer('tc:{3}:people');
      expect(Object.values(people).map(String).sort()).toEqual(['1', '2']);
    } finally {
      await other.close();
    }
  });

  it('a bucket whose slot moves names the operation that reaches a milestone once, whatever has moved of it already', async () => {
    const post = postIn(1, 1);
    const { milestones } = store;
    const producer = new Producer('prod-milestones');
    const session = key(12);
    for (const n of [1, 5, 6]) expect(await milestones.arm(post, VIEWS, n)).toMatchObject({ kind: 'armed' });
    await store.commit(producer.batch(1, [view(post, 4)]));
    const { from, to } = await beginMove(1);
    const move = (name: string): Promise<unknown> =>
      from.migrate(to.host, to.port, '', 0, 5_000, 'KEYS', `tc:{1}:${name}`);
    const winner = producer.batch(1, [view(post, 1, { session, seq: 1 })]);
    await move('milestone_records');
    await expect(store.commit(winner)).rejects.toThrow();
    await expect(milestones.read(post, VIEWS)).rejects.toThrow();
    await move('milestones');
    await expect(store.commit(winner)).rejects.toThrow();
    for (const call of [() => milestones.arm(post, VIEWS, 7), () => milestones.disarm(post, VIEWS, 6)])
      await expect(call()).rejects.toThrow();
    await cluster.moveSlot(hashSlot('tc:{1}'), to);
    const isApplied = (): Promise<boolean> =>
      store.commit(winner).then(
        ({ kind }) => kind === 'applied',
        () => false,
      );
    await until(isApplied, 'the slot has moved');
    const reached = [
      { n: 1, total: 4 },
      { n: 5, total: 5, session },
    ];
    expect(await milestones.read(post, VIEWS)).toMatchObject({ armed: [6], reached });
  });

  it('a bucket whose slot moves keeps its toggle logs if its clock cannot be rewound', async () => {
    const post = postIn(2);
    const other = await openRedisStore(cluster.url, { metrics: METRICS, buckets: BUCKETS, region: 'eu' });
    try {
      await other.commit(new Producer('prod-two').batch(2, [like(post, ANN), view(post)]));
      const [{ clock, epoch } = { clock: 0, epoch: 0 }] = await other.replication!.bucketStatus([2]);
      const registers = [{ metric: LIKES, actor: BOB, stamp: clock - REGION_NUMBERS, on: true }];
      const stamps = { startedAtStamp: 0, after: 0, upTo: 0, ackedUpTo: 0, stableStamp: 0 };
      const posts = [{ post, updatedAtMs: START_MS, entries: [], registers, members: [] }];
      const delta = { kind: 'changes', bucket: 2, source: { region: 'us', epoch: 1, nonce: 9 }, posts } as const;
      await other.replication!.merge([{ ...delta, ...stamps, predecessors: [], fullSyncReceiver: null }]);
      const { from } = await beginMove(2);
      const rewind = { epoch, clock: clock - REGION_NUMBERS, needsBackfill: false, rewindsClock: true };
      await expect(other.replication!.startIncarnation([2], rewind)).rejects.toThrow();
      const logs = ['local_log', 'remote_log'].map((name) => from.xlen(`tc:{2}:${name}`));
      expect(await Promise.all(logs)).toEqual([1, 1]);
    } finally {
      await other.close();
    }
  });
});

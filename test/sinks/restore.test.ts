import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from '@jest/globals';
import type { Redis } from 'ioredis';
import { restore } from '../../src/app/restore.js';
import { openRedis, openStore } from '../../src/app/open-store.js';
import { systemClock } from '../../src/common/clock.js';
import { readSettings } from '../../src/config/settings.js';
import { bucketOf } from '../../src/counters/bucket-of.js';
import { fromInt64, toInt64 } from '../../src/counters/ids.js';
import { LIKES, VIEWS } from '../../src/counters/metrics.js';
import { PostgresSink } from '../../src/sinks/postgres/postgres-sink.js';
import type { CopyableStore } from '../../src/store/change-store.js';
import { adjust, BUCKETS, key, like, METRICS, Producer, save } from '../contract/operations.js';
import { applied } from '../contract/store-under-test.js';
import { type PostgresServer, startPostgres, stopPostgres, type TestDatabase } from '../support/postgres-server.js';
import { startRedis, stopRedis } from '../support/redis-server.js';
import { until } from '../support/until.js';
import { FedStore } from './fed-store.js';
import { closeSinks, openSink, readMembers } from './postgres-fixtures.js';

let server: PostgresServer;
let redisUrl: string;
let redisClient: Redis;
let database: TestDatabase;
let dataDir: string;
let fed: FedStore;

beforeAll(async () => {
  server = await startPostgres();
  const redis = await startRedis();
  redisUrl = redis.url;
  redisClient = redis.client();
});
afterAll(async () => {
  await stopRedis();
  await stopPostgres();
});

beforeEach(async () => {
  await redisClient.flushall();
  database = await server.createDatabase();
  dataDir = await mkdtemp(join(tmpdir(), 'tallycast-restore-'));
  fed = await FedStore.open(3);
  const gateway = fed.startGateway((options) => new PostgresSink({ ...options, sinkMembers: true, url: database.url }));
  await fed.change(400);
  await fed.commit([
    like('post.7', key(1)),
    like('post.7', key(2)),
    save('post.7', key(1)),
    adjust('post.7', 1),
    adjust('post.7', 1),
  ]);
  const sink = openSink(database.url, { buckets: BUCKETS, metrics: METRICS, sinkMembers: true });
  await sink.readPositions();
  const expected = await fed.readCounts();
  const members = (await fed.readMembers()).length;
  await until(async () => {
    const rows = await sink.readCounts([...expected.keys()]);
    const areEqual = rows.size === expected.size && [...expected].every(([post, { v }]) => rows.get(post)?.v === v);
    return areEqual && (await readMembers(database)).length === members;
  }, 'the rows are those of the store');
  await gateway.close();
});
afterEach(async () => {
  await closeSinks();
  await fed.close();
  await rm(dataDir, { recursive: true });
});

type Environment = Readonly<Record<string, string>>;

/** The store is restored under another rule for the same rows. */
const RULED = METRICS.toString().replace('saves:toggle', 'saves:unique').replace('shares:tally', 'shares:unique@30m');

function settingsWith(more: Environment): ReturnType<typeof readSettings> {
  return readSettings({
    ...{ DATA_DIR: dataDir, SINK_URL: database.url.href, BUCKETS: String(BUCKETS), METRICS: RULED },
    ...{ REGION: 'eu', SINK_MEMBERS: 'true', ...more },
  });
}

async function restoreWith(more: Environment = {}): Promise<Record<string, unknown>[]> {
  const lines: string[] = [];
  await restore(settingsWith(more), (line) => lines.push(line));
  return lines.map((line) => JSON.parse(line) as Record<string, unknown>);
}

async function withStore<T>(more: Environment, use: (store: CopyableStore) => Promise<T>): Promise<T> {
  const settings = settingsWith(more);
  const ignore = (): void => undefined;
  const redis = await openRedis(settings, systemClock, ignore);
  const store = await openStore(settings, redis, systemClock, systemClock, ignore);
  try {
    return await use(store);
  } finally {
    await store.close();
  }
}

/** Totals by post. */
async function readTotals(more: Environment, posts: readonly string[]): Promise<Map<string, readonly number[]>> {
  const views = await withStore(more, (store) => store.read(posts, null));
  return new Map(views.map(({ counts: { post, totals } }) => [post, totals]));
}

/** The members of a store, as the table has them. */
async function readStored(more: Environment, posts: readonly string[]): Promise<string[]> {
  const { members } = await withStore(more, ({ changeStore }) => changeStore.readMembers(posts, '', 100_000));
  return members.map(({ post, metric, actor }) => `${post} ${METRICS.list[metric]!.name} ${toInt64(actor)}`).sort();
}

const STORES: readonly (readonly [string, () => Environment])[] = [
  ['embedded', () => ({})],
  ['Redis', () => ({ REDIS_URL: redisUrl })],
];

it.each(STORES)('an empty %s store gets the counts and the members of the rows', async (_, build) => {
  const more = build();
  const expected = new Map([...(await fed.readCounts())].map(([post, { totals }]) => [post, totals]));
  const members = (await readMembers(database)).sort();
  const lines = (await restoreWith(more)).filter((line) => !('warning' in line));
  expect(lines).toEqual([{ done: true, posts: expected.size, members: members.length }]);
  const posts = [...expected.keys()];
  expect(await readTotals(more, posts)).toEqual(expected);
  expect(await readStored(more, posts)).toEqual(members);
  // Somebody who likes again is not counted again.
  const again = (await fed.readMembers()).filter(({ metric }) => metric === LIKES);
  await withStore(more, async (store) => {
    const producer = new Producer('producer-of-again');
    for (const { post, actor } of again) {
      await applied(store, producer.batch(bucketOf(post, BUCKETS), [like(post, actor)]));
    }
  });
  expect(await readTotals(more, posts)).toEqual(expected);
  // The rows follow the restored store from now on.
  const sink = openSink(database.url, { buckets: BUCKETS, metrics: METRICS, sinkMembers: true });
  expect(await sink.readPositions()).toEqual(new Map());
  await expect(restoreWith(more)).rejects.toThrow(
    /^the store has counts, such as those of post\.\d+: restore into an empty/,
  );
});

it.each(STORES)('an empty %s store gets the milestones back, with their winners', async (_, build) => {
  const more = build();
  await database.sql(`INSERT INTO tallycast_milestones
    (post, metric, n, v, region, epoch, actor, session, seq, kind, value, total, reached_at, missed) VALUES
    ('post.7', 'views', 2, 9, 'eu', 3, -4711, 9223372036854775807, 7, 'add', 3, 4, '2026-01-01T00:00:00.123Z', false),
    ('post.7', 'likes', 1, 8, 'us', 3, NULL, NULL, 0, 'add', 0, 2, '2026-01-01', true)`);
  const { milestones } = (await restoreWith(more)).at(-1)!;
  expect(milestones).toBe(2);
  const [views, likes] = await withStore(more, (store) =>
    Promise.all([store.milestones.read('post.7', VIEWS), store.milestones.read('post.7', LIKES)]),
  );
  const winner = {
    actor: fromInt64(-4711n),
    session: fromInt64(2n ** 63n - 1n),
    seq: 7,
    kind: 'add',
    value: 3,
    total: 4,
  };
  const when = { v: 9, region: 'eu', epoch: 3, atMs: Date.UTC(2026, 0, 1) + 123, recordedAtMs: 0, final: true };
  expect(views).toMatchObject({ armed: [], reached: [{ n: 2, ...winner, ...when, missed: false }] });
  expect(likes.reached).toMatchObject([{ n: 1, actor: null, session: null, missed: true, region: 'us', final: true }]);
});

it('a milestone of an unknown metric ends the restore', async () => {
  await database.sql(`INSERT INTO tallycast_milestones VALUES
    ('post.7', 'reads', 2, 9, 'eu', 3, NULL, NULL, 0, 'add', 3, 4, '2026-01-01', false)`);
  await expect(restoreWith()).rejects.toThrow(
    /^tallycast_milestones has one of "reads" of post post\.7, which is not in/,
  );
});

it('without a table of members all likes become anonymous counts', async () => {
  await database.sql('DROP TABLE tallycast_members');
  const expected = new Map([...(await fed.readCounts())].map(([post, { totals }]) => [post, totals]));
  const more = { SINK_MEMBERS: 'false' };
  expect(await restoreWith(more)).toEqual([{ done: true, posts: expected.size }]);
  expect(await readTotals(more, [...expected.keys()])).toEqual(expected);
  expect(await readStored(more, [...expected.keys()])).toEqual([]);
});

it('members are right where a row counts fewer, and those of posts without a row are restored', async () => {
  const members = (await readMembers(database)).filter((one) => one.startsWith('post.7 likes ')).length;
  await database.sql("UPDATE tallycast_counts SET likes = 1 WHERE post = 'post.7'");
  await database.sql("INSERT INTO tallycast_members VALUES ('zz', 'likes', 1, 1), ('a', 'likes', 1, 1)");
  const [warning] = await restoreWith();
  expect(warning).toEqual({
    warning: '1 counts, such as likes of post.7, were below the number of members: the members were restored',
  });
  const totals = await readTotals({}, ['post.7', 'zz', 'a']);
  expect([...totals.values()].map((one) => one[LIKES])).toEqual([members, 1, 1]);
});

it('a member of a metric without members ends the restore', async () => {
  await database.sql("INSERT INTO tallycast_members VALUES ('post.7', 'views', 1, 1)");
  await expect(restoreWith()).rejects.toThrow(
    /^tallycast_members has a member of "views" of post post\.7, which is no toggle of METRICS: delete such rows, empty/,
  );
});

it('a store with peers, or without a database, is not restored', async () => {
  const peers = { PEERS: 'us=http://127.0.0.1:1', PEER_TOKEN: 'x'.repeat(32) };
  await expect(restoreWith(peers)).rejects.toThrow(/PEERS is set/);
  await expect(restoreWith({ SINK_URL: '', SINK_MEMBERS: '' })).rejects.toThrow('restore needs SINK_URL=postgres://');
});

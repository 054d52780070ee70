import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from '@jest/globals';
import { restore } from '../../src/app/restore.js';
import { openRedis, openStore } from '../../src/app/open-store.js';
import { systemClock } from '../../src/common/clock.js';
import { readSettings } from '../../src/config/settings.js';
import { PostgresSink } from '../../src/sinks/postgres/postgres-sink.js';
import type { CopyableStore } from '../../src/store/change-store.js';
import { BUCKETS, METRICS } from '../contract/operations.js';
import { type PostgresServer, startPostgres, stopPostgres, type TestDatabase } from '../support/postgres-server.js';
import { startRedis, stopRedis } from '../support/redis-server.js';
import { until } from '../support/until.js';
import { FedStore } from './fed-store.js';
import { closeSinks, openSink } from './postgres-fixtures.js';

let server: PostgresServer;
let redisUrl: string;
let database: TestDatabase;
let dataDir: string;
let fed: FedStore;

beforeAll(async () => {
  server = await startPostgres();
  redisUrl = (await startRedis()).url;
});
afterAll(async () => {
  await stopRedis();
  await stopPostgres();
});

beforeEach(async () => {
  database = await server.createDatabase();
  dataDir = await mkdtemp(join(tmpdir(), 'tallycast-restore-'));
  fed = await FedStore.open(3);
  const gateway = fed.startGateway((options) => new PostgresSink({ ...options, url: database.url }));
  await fed.change(400);
  const sink = openSink(database.url, { buckets: BUCKETS, metrics: METRICS });
  await sink.readPositions();
  const expected = await fed.readCounts();
  await until(async () => {
    const rows = await sink.readCounts([...expected.keys()]);
    return rows.size === expected.size && [...expected].every(([post, { v }]) => rows.get(post)?.v === v);
  }, 'the rows are those of the store');
  await gateway.close();
});
afterEach(async () => {
  await closeSinks();
  await fed.close();
  await rm(dataDir, { recursive: true });
});

type Environment = Readonly<Record<string, string>>;

function settingsWith(more: Environment): ReturnType<typeof readSettings> {
  return readSettings({
    ...{ DATA_DIR: dataDir, SINK_URL: database.url.href, BUCKETS: String(BUCKETS), METRICS: METRICS.toString() },
    ...{ REGION: 'eu', ...more },
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

it.each([
  ['embedded', (): Environment => ({})],
  ['Redis', (): Environment => ({ REDIS_URL: redisUrl })],
])('an empty %s store gets the counts of the rows', async (_, build) => {
  const more = build();
  const expected = new Map([...(await fed.readCounts())].map(([post, { totals }]) => [post, totals]));
  const lines = (await restoreWith(more)).filter((line) => !('warning' in line));
  expect(lines).toEqual([{ done: true, posts: expected.size }]);
  expect(await readTotals(more, [...expected.keys()])).toEqual(expected);
  // The rows follow the restored store from now on.
  const sink = openSink(database.url, { buckets: BUCKETS, metrics: METRICS });
  expect(await sink.readPositions()).toEqual(new Map());
  await expect(restoreWith(more)).rejects.toThrow(
    /^the store has counts, such as those of post\.\d+: restore into an empty/,
  );
});

it('a store with peers, or without a database, is not restored', async () => {
  const peers = { PEERS: 'us=http://127.0.0.1:1', PEER_TOKEN: 'x'.repeat(32) };
  await expect(restoreWith(peers)).rejects.toThrow(/PEERS is set/);
  await expect(restoreWith({ SINK_URL: '' })).rejects.toThrow('restore needs SINK_URL=postgres://');
});

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { Metrics } from '../../src/counters/metrics.js';
import { FileFollower } from '../sinks/file-follower.js';
import { readMembers } from '../sinks/postgres-fixtures.js';
import { NatsReader } from '../sinks/nats-reader.js';
import { RowConsumer } from '../sinks/row-consumer.js';
import { SECRET, WebhookServer } from '../sinks/webhook-server.js';
import { closeClients, connect, expectOk, readTotals, type Totals } from '../support/clients.js';
import { runCommand } from '../support/command.js';
import {
  ADMIN_TOKEN,
  likeAndView,
  POSTS,
  readRows,
  readSinkWarnings,
  requestAdmin,
  runAdminCommand,
  totalsOfEach,
  untilEqual,
} from '../support/fed-gateway.js';
import { type GatewayProcess, startGateway, stopAll } from '../support/gateway-process.js';
import { readMetrics } from '../support/metrics.js';
import { startNats, stopNats } from '../support/nats-server.js';
import { type PostgresServer, startPostgres, stopPostgres, type TestDatabase } from '../support/postgres-server.js';
import { type RedisServer, startRedis, stopRedis, withClient } from '../support/redis-server.js';
import { until } from '../support/until.js';
import { isAlive, listWorkers } from '../support/workers.js';

const METRICS = Metrics.parse('likes:toggle,views:tally');

let postgres: PostgresServer;
let redis: RedisServer;

beforeAll(async () => {
  [postgres, redis] = await Promise.all([startPostgres(), startRedis()]);
});

afterEach(closeClients);

afterAll(async () => {
  await stopAll();
  await Promise.all([stopPostgres(), stopRedis(), stopNats()]);
});

describe.each(['embedded', 'Redis'])('a gateway on the %s store with a PostgreSQL sink', (kind) => {
  let database: TestDatabase;
  let gateway: GatewayProcess;
  let env: Record<string, string>;

  beforeAll(async () => {
    if (kind === 'Redis') await withClient(redis, (client) => client.flushall());
    database = await postgres.createDatabase();
    env = {
      SINK_URL: database.url.href,
      SINK_MS: '100',
      ADMIN_TOKEN,
      ...(kind === 'Redis' && { REDIS_URL: redis.url }),
    };
    gateway = await startGateway(env);
    env['DATA_DIR'] = gateway.dataDir;
  });

  afterAll(async () => {
    await gateway.kill('SIGTERM');
  });

  it(`likes and views become rows (${kind})`, async () => {
    await likeAndView(gateway, 'ada', 'grace');
    expect(await untilEqual(database, gateway)).toEqual(totalsOfEach(2, 4));
  });

  it(`the series of the sink have its name, without its password (${kind})`, async () => {
    const label = `{sink="${sinkName()}"}`;
    const page = await readMetrics(gateway.url);
    expect(page.get(`tallycast_sink_up${label}`)).toBe(1);
    expect(page.get(`tallycast_sink_halted${label}`)).toBe(0);
    expect(page.get(`tallycast_sink_lag_seconds${label}`)).toBeGreaterThanOrEqual(0);
    expect(page.get(`tallycast_sink_rows_total${label}`)).toBeGreaterThanOrEqual(POSTS.length);
    expect(page.get(`tallycast_sink_full_syncs_total${label}`)).toBeGreaterThanOrEqual(1);
    expect(page.get(`tallycast_sink_rejections_total${label}`)).toBe(0);
    for (const arm of ['sums', 'rows']) {
      for (const { name } of METRICS.list) {
        expect(page.get(`tallycast_drift{sink="${sinkName()}",arm="${arm}",metric="${name}"}`)).toBe(0);
      }
    }
  });

  it(`rows equal the totals after the gateway was killed and started again (${kind})`, async () => {
    await likeAndView(gateway, 'edsger');
    await gateway.kill('SIGKILL');
    gateway = await startGateway(env);
    await likeAndView(gateway, 'barbara');
    expect(await untilEqual(database, gateway)).toEqual(totalsOfEach(4, 8));
    expect(readSinkWarnings(gateway)).toEqual([]);
  });

  it(`a row that the database rejected is written by sink retry (${kind})`, async () => {
    const label = `{sink="${sinkName()}"}`;
    await database.sql('ALTER TABLE tallycast_counts ADD CONSTRAINT few CHECK (likes <= 4)');
    await likeAndView(gateway, 'tony');
    const readDead = async (): Promise<unknown> => (await readMetrics(gateway.url)).get(`tallycast_sink_dead${label}`);
    await until(async () => (await readDead()) === POSTS.length, 'the rows are rejected');
    expect(readSinkWarnings(gateway).at(-1)).toContain('tallycast sink retry');
    await database.sql('ALTER TABLE tallycast_counts DROP CONSTRAINT few');
    const rejections = (await readMetrics(gateway.url)).get(`tallycast_sink_rejections_total${label}`);
    expect(rejections).toBeGreaterThanOrEqual(POSTS.length);
    expect(await runAdminCommand(gateway, 'sink', 'retry')).toEqual({
      ...{ done: true, rows: expect.any(Number) as unknown, startsWithinMs: 100 },
    });
    expect(await untilEqual(database, gateway)).toEqual(totalsOfEach(5, 10));
    await until(async () => (await readDead()) === 0, 'no row is rejected any more');
  });

  it(`sinks cannot be turned off on a gateway that has SINK_URL (${kind})`, async () => {
    expect(await runAdminCommand(gateway, 'sink', 'off')).toBe(
      'BAD_REQUEST: this gateway has SINK_URL: restart all gateways without it first\n',
    );
  });

  it(`a gateway that ends in order writes the last changes first (${kind})`, async () => {
    await likeAndView(gateway, 'alan');
    const totals = await readTotals(gateway.url, POSTS);
    await gateway.kill('SIGTERM');
    expect(await readRows(database)).toEqual(totals);
  });

  it(`a gateway without SINK_URL warns that changes are recorded, until sinks are turned off (${kind})`, async () => {
    gateway = await startGateway({ ...env, SINK_URL: '' });
    await until(() => readSinkWarnings(gateway).length > 0, 'the gateway warns');
    expect(readSinkWarnings(gateway)).toEqual([expect.stringContaining('run tallycast sink off')]);
    expect(await runAdminCommand(gateway, 'sink', 'off')).toEqual({ done: true });
    await likeAndView(gateway, 'donald');
    await gateway.kill('SIGTERM');
    gateway = await startGateway(env);
    expect(await untilEqual(database, gateway)).toEqual(totalsOfEach(7, 14));
    expect(readSinkWarnings(gateway)).toEqual([]);
  });

  it(`a sink of an emptied store is halted until it adopts the store (${kind})`, async () => {
    const before = await readRows(database);
    await gateway.kill('SIGTERM');
    if (kind === 'Redis') await withClient(redis, (client) => client.flushall());
    else delete env['DATA_DIR'];
    gateway = await startGateway(env);
    env['DATA_DIR'] = gateway.dataDir;
    await likeAndView(gateway, 'ada');
    await until(() => readSinkWarnings(gateway).length > 0, 'the gateway warns');
    expect(readSinkWarnings(gateway)[0]).toMatch(
      /halted: it may have counts that this store lacks.*tallycast sink adopt/,
    );
    const page = await readMetrics(gateway.url);
    expect(page.get(`tallycast_sink_halted{sink="${sinkName()}"}`)).toBeGreaterThan(0);
    expect(await readRows(database)).toEqual(before);
    expect(await runAdminCommand(gateway, 'sink', 'adopt')).toEqual({
      ...{ done: true, sinks: [sinkName()], startsWithinMs: 100 },
    });
    expect(await untilEqual(database, gateway)).toEqual(totalsOfEach(1, 2));
  });

  function sinkName(): string {
    return `postgres://127.0.0.1:${postgres.port}/${database.name}`;
  }
});

describe('a gateway with SINK_MEMBERS', () => {
  it('members of toggles and uniques are rows, and audit --members compares them', async () => {
    const database = await postgres.createDatabase();
    const env = { SINK_URL: database.url.href, SINK_MS: '100', SINK_MEMBERS: 'true', ACTOR_KEYS: 'int64', ADMIN_TOKEN };
    const gateway = await startGateway({ ...env, METRICS: 'likes:toggle,views:unique@30m,readers:unique' });
    const readers: string[] = [];
    const untilMembers = async (...actors: number[]): Promise<void> => {
      const likes = POSTS.flatMap((post) => actors.map((actor) => `${post} likes ${actor}`));
      const expected = [...likes, ...readers].sort();
      const areEqual = async (): Promise<boolean> =>
        isDeepStrictEqual((await readMembers(database).catch(() => [])).sort(), expected);
      await until(areEqual, 'the table has the members');
    };
    await likeAndView(gateway, '4711', '-5', '7');
    await untilMembers(4711, -5, 7);
    const socket = connect(gateway.url, { actor: '7' });
    for (const post of POSTS) expectOk(await socket.emitWithAck('unlike', { post }));
    for (let i = 0; i < 2; i++) expectOk(await socket.emitWithAck('add', { post: '42', metric: 'readers' }));
    readers.push('42 readers 7');
    await untilMembers(4711, -5);
    const liked = await database.sql('SELECT count(*)::int AS count FROM tallycast_members WHERE actor = 4711');
    expect(liked).toEqual([{ count: POSTS.length }]);
    const clean = { done: true, miscounted: 0, drift: 0, sinks: [expect.objectContaining({ posts: POSTS.length })] };
    expect(await runAdminCommand(gateway, 'audit', '--members')).toEqual(clean);
    await database.sql("DELETE FROM tallycast_members WHERE post = '42' AND actor = -5");
    const audit = await runCommand(['audit', '--members', '--repair'], { ADMIN_TOKEN, TALLYCAST_URL: gateway.url });
    expect(audit.status).toBe(1);
    expect(JSON.parse(audit.stdout.split('\n')[0]!)).toMatchObject({ post: '42', missing: 1, missingActors: ['-5'] });
    await untilMembers(4711, -5);
    expect(await runAdminCommand(gateway, 'audit', '--members')).toEqual(clean);
    expect(readSinkWarnings(gateway)).toEqual([]);
    await gateway.kill('SIGTERM');
  });
});

describe('a gateway with several sinks', () => {
  it('each sink gets all counts', async () => {
    const [nats, database] = await Promise.all([startNats(), postgres.createDatabase()]);
    const consumers = [new RowConsumer(METRICS), new RowConsumer(METRICS), new RowConsumer(METRICS)] as const;
    const [ofFile, ofNats, ofWebhook] = consumers;
    const webhook = new WebhookServer(ofWebhook);
    const directory = await mkdtemp(join(tmpdir(), 'tallycast-sinks-'));
    const urls = [
      ...[database.url.href, `file://${directory}/counts.ndjson`, `${nats.url}?stream=COUNTS`],
      `http://127.0.0.1:${await webhook.listen()}/counts`,
    ];
    const gateway = await startGateway({ SINK_URL: urls.join(), SINK_SECRET: SECRET, SINK_MS: '100' });
    await likeAndView(gateway, 'ada');
    const totals = await untilEqual(database, gateway);
    const file = new FileFollower(directory, ofFile);
    const stream = new NatsReader(nats, 'COUNTS', ofNats);
    const areEqual = async (): Promise<boolean> => {
      await Promise.all([file.poll(), stream.poll()]);
      return consumers.every((consumer) => isDeepStrictEqual(totalsIn(consumer), totals));
    };
    await until(areEqual, 'all sinks have the totals');
    expect(readSinkWarnings(gateway)).toEqual([]);
    await gateway.kill('SIGTERM');
    await webhook.close();
    await rm(directory, { recursive: true, force: true });
  });
});

describe('gateways of one store with different sinks', () => {
  it('each feeds its own, and sinks cannot be turned off while one of them is left', async () => {
    await withClient(redis, (client) => client.flushall());
    const databases = await Promise.all([postgres.createDatabase(), postgres.createDatabase()]);
    const settings = { REDIS_URL: redis.url, SINK_MS: '100', ADMIN_TOKEN };
    const [first, second] = await Promise.all(
      databases.map(({ url }) => startGateway({ ...settings, SINK_URL: url.href })),
    );
    await likeAndView(first!, 'ada');
    for (const database of databases) expect(await untilEqual(database, second!)).toEqual(totalsOfEach(1, 2));
    const other = await startGateway({ ...settings, SINK_URL: '' });
    // Either of them may have the lease that both ask for.
    for (const gateway of [first!, second!]) {
      await expect(requestAdmin(other, '/admin/sinks/off')).rejects.toThrow(
        /^BAD_REQUEST: another gateway feeds sinks/,
      );
      await gateway.kill('SIGKILL');
    }
    expect(await requestAdmin(other, '/admin/sinks/off')).toEqual({ done: true });
    await other.kill('SIGTERM');
  });
});

/** The tests depend on their order: the last one kills the workers. */
describe('workers with a PostgreSQL sink', () => {
  let database: TestDatabase;
  let gateway: GatewayProcess;

  beforeAll(async () => {
    await withClient(redis, (client) => client.flushall());
    database = await postgres.createDatabase();
    gateway = await startGateway({
      ...{ SINK_URL: database.url.href, SINK_MS: '100', REDIS_URL: redis.url, WORKERS: '2' },
      MAX_OPS_PER_CONNECTION: '0',
    });
  });

  it('one of several workers feeds', async () => {
    await likeAndView(gateway, 'ada');
    expect(await untilEqual(database, gateway)).toEqual(totalsOfEach(1, 2));
    const countFeeding = async (): Promise<number> =>
      [...(await readMetrics(gateway.url)).keys()].filter((name) => name.startsWith('tallycast_sink_up{')).length;
    // The page leaves out a worker that responds late.
    await until(async () => (await countFeeding()) > 0, 'the page has the series of the worker that feeds');
    expect(await countFeeding()).toBeLessThan(2);
  });

  it('a gateway without SINK_URL cannot turn sinks off while workers feed', async () => {
    const other = await startGateway({ REDIS_URL: redis.url, ADMIN_TOKEN });
    await expect(requestAdmin(other, '/admin/sinks/off')).rejects.toThrow(
      'BAD_REQUEST: another gateway feeds sinks: restart all gateways without SINK_URL first',
    );
    await other.kill('SIGTERM');
  });

  it('rows go on when all workers are killed one after another', async () => {
    for (const [i, pid] of listWorkers(gateway).entries()) {
      process.kill(pid, 'SIGKILL');
      await until(() => !isAlive(pid), 'the worker has ended');
      // On a busy machine no worker may listen now: the client tries again until one does.
      await likeAndView(gateway, `actor-${i}`);
      expect(await untilEqual(database, gateway)).toEqual(totalsOfEach(2 + i, 4 + 2 * i));
    }
  });
});

function totalsIn({ counts }: RowConsumer): Record<string, Totals> {
  return Object.fromEntries([...counts].map(([post, { totals }]) => [post, { likes: totals[0]!, views: totals[1]! }]));
}

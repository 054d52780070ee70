import { copyFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { LIMIT_MS } from '../property/runs.js';
import { closeClients, readTotals } from '../support/clients.js';
import { runCommand } from '../support/command.js';
import {
  ADMIN_TOKEN,
  likeAndView,
  POSTS,
  readRows,
  readSinkWarnings,
  requestAdmin,
  totalsOfEach,
  untilEqual,
} from '../support/fed-gateway.js';
import { type GatewayProcess, startGateway, stopAll } from '../support/gateway-process.js';
import { readMetrics } from '../support/metrics.js';
import { type PostgresServer, startPostgres, stopPostgres, type TestDatabase } from '../support/postgres-server.js';
import { type RedisServer, startRedis, stopRedis, withClient } from '../support/redis-server.js';
import { RedisPair } from '../support/redis-pair.js';
import { startProxy, type TcpProxy } from '../support/tcp-proxy.js';
import { until } from '../support/until.js';

const DAY_MS = 86_400_000;
/** A clock that is behind since this many days, and loses 1 % of its time, is a day behind. */
const DAYS = 101;
const TIME_SCALE = 1.01;
/** Longer than many cycles: what a gateway would overwrite is overwritten by then. */
const HALTED_SECONDS = 2;

let postgres: PostgresServer;
let redis: RedisServer;
/** Where gateways find their Redis. */
let redisUrl: string;
let database: TestDatabase;
let gateways: GatewayProcess[];
/** How many of them share the Redis. */
let gatewayCount: number;
let proxy: TcpProxy | null = null;

beforeAll(async () => {
  [postgres, redis] = await Promise.all([startPostgres(), startRedis()]);
});

beforeEach(async () => {
  database = await postgres.createDatabase();
  redisUrl = redis.url;
  gatewayCount = 2;
  await withClient(redis, (client) => client.flushall());
});

afterEach(async () => {
  await closeClients();
  await end('SIGKILL');
  await proxy?.close();
  proxy = null;
});

afterAll(async () => {
  await stopAll();
  await Promise.all([stopPostgres(), stopRedis()]);
});

function buildEnv(): Record<string, string> {
  return { SINK_URL: database.url.href, SINK_MS: '100', ADMIN_TOKEN, REDIS_URL: redisUrl };
}

/** Starts all gateways, with a clock that is right or a day behind. */
async function start(day: 'today' | 'yesterday' = 'today'): Promise<void> {
  const since = { TIME_SCALE_SINCE_MS: String(Date.now() - DAYS * DAY_MS) };
  gateways = await Promise.all(
    Array.from({ length: gatewayCount }, () =>
      day === 'today' ? startGateway(buildEnv()) : startGateway({ ...buildEnv(), ...since }, { timeScale: TIME_SCALE }),
    ),
  );
}

async function end(signal: 'SIGTERM' | 'SIGKILL'): Promise<void> {
  await Promise.all(gateways.map((gateway) => gateway.kill(signal)));
}

/** The name of a series of the sink in /metrics. */
function series(name: string): string {
  return `tallycast_sink_${name}{sink="postgres://127.0.0.1:${postgres.port}/${database.name}"}`;
}

/** Another gateway would notice an adoption up to 10 s later. */
async function findFeeder(): Promise<GatewayProcess> {
  const pages = await Promise.all(gateways.map(({ url }) => readMetrics(url)));
  return gateways[pages.findIndex((page) => page.has(series('up')))]!;
}

/** Waits until the gateway that feeds finds that the sink has everything, which ends its lag. */
async function untilCurrent(): Promise<void> {
  let last = 0;
  const isCurrent = async (): Promise<boolean> => {
    const pages = await Promise.all(gateways.map(({ url }) => readMetrics(url)));
    const before = last;
    last = Math.max(0, ...pages.map((page) => page.get(series('lag_seconds')) ?? 0));
    return last > 0 && last < before;
  };
  await until(isCurrent, 'the sink has everything');
}

/** Waits until a gateway halts the sink, lets counts change, and fails if rows did. @returns its warning */
async function expectHalted(): Promise<string> {
  const before = await readRows(database);
  const isHaltedFor = async (seconds: number): Promise<boolean> => {
    const pages = await Promise.all(gateways.map(({ url }) => readMetrics(url)));
    return pages.some(
      (page) => (page.get(series('halted')) ?? 0) > 0 && (page.get(series('lag_seconds')) ?? 0) >= seconds,
    );
  };
  await until(() => isHaltedFor(0), 'the sink is halted');
  await likeAndView(gateways[0]!, 'late');
  await until(() => isHaltedFor(HALTED_SECONDS), 'the sink is halted for a while');
  expect(await readRows(database)).toEqual(before);
  return gateways.flatMap(readSinkWarnings).find((warning) => warning.includes('halted:'))!;
}

/** Ends the gateways, and brings the counts of the rows back into an empty Redis. */
async function restoreFromSink(): Promise<void> {
  await end('SIGTERM');
  await withClient(redis, (client) => client.flushall());
  expect(await runCommand(['restore'], buildEnv())).toMatchObject({
    status: 0,
    stdout: expect.stringContaining(`{"done":true,"posts":${POSTS.length}}\n`) as unknown,
  });
  await start();
}

/** Fails unless the rows follow the store, which has these totals. */
async function expectFed(likes: number, views: number): Promise<void> {
  expect(await untilEqual(database, gateways.at(-1)!)).toEqual(totalsOfEach(likes, views));
  expect(await requestAdmin(gateways[0]!, '/admin/audit')).toMatchObject({ done: true, drift: 0 });
}

describe('a Redis that lost what its sink has', () => {
  it(
    'a Redis that comes back empty under running gateways halts the sink, and is restored from it',
    async () => {
      await start();
      await likeAndView(gateways[0]!, 'ada', 'grace');
      await likeAndView(gateways.at(-1)!, 'edsger');
      await expectFed(3, 6);
      await redis.kill('SIGKILL');
      await redis.restart();
      expect(await expectHalted()).toContain('tallycast restore');
      await restoreFromSink();
      expect(await readTotals(gateways[0]!.url, POSTS)).toEqual(totalsOfEach(3, 6));
      await likeAndView(gateways.at(-1)!, 'barbara');
      await expectFed(4, 8);
    },
    LIMIT_MS,
  );

  it(
    "yesterday's backup of Redis halts the sink, until the store is restored or the sink adopts it",
    async () => {
      // The gateways start five times. How several share a sink is tested above and below.
      gatewayCount = 1;
      await start('yesterday');
      await likeAndView(gateways[0]!, 'ada', 'grace');
      await expectFed(2, 4);
      await withClient(redis, (client) => client.save());
      const [data, backup] = ['dump.rdb', 'backup.rdb'].map((file) => join(redis.dir, file));
      await copyFile(data!, backup!);
      await end('SIGTERM');
      await start();
      await likeAndView(gateways.at(-1)!, 'edsger', 'barbara', 'alan');
      await expectFed(5, 10);
      const restoreBackup = async (): Promise<void> => {
        await end('SIGKILL');
        await redis.kill('SIGKILL');
        await copyFile(backup!, data!);
        await redis.restart();
        await start();
      };
      await restoreBackup();
      expect(await readTotals(gateways[0]!.url, POSTS)).toEqual(totalsOfEach(2, 4));
      expect(await expectHalted()).toMatch(/halted: it may have changes up to /);
      await restoreFromSink();
      await likeAndView(gateways[0]!, 'tony');
      await expectFed(6, 12);
      await restoreBackup();
      await expectHalted();
      expect(await requestAdmin(await findFeeder(), '/admin/sinks/adopt')).toMatchObject({ done: true });
      await expectFed(3, 6);
    },
    LIMIT_MS,
  );

  it(
    'a failover that loses the first change of a day does not halt the sink',
    async () => {
      const pair = await RedisPair.start();
      proxy = await startProxy(pair);
      redisUrl = `redis://127.0.0.1:${proxy.port}`;
      await start('yesterday');
      await likeAndView(gateways[0]!, 'ada');
      await expectFed(1, 2);
      await end('SIGTERM');
      await start();
      await untilCurrent();
      await pair.detachReplica();
      await likeAndView(gateways[0]!, 'grace');
      expect(await untilEqual(database, gateways[0]!)).toEqual(totalsOfEach(2, 4));
      await pair.failOver();
      await likeAndView(gateways.at(-1)!, 'edsger');
      await expectFed(3, 6);
      expect(gateways.flatMap(readSinkWarnings).filter((warning) => warning.includes('halted'))).toEqual([]);
    },
    LIMIT_MS,
  );
});

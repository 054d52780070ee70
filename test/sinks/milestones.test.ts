import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { jetstreamManager } from '@nats-io/jetstream';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import type { Redis } from 'ioredis';
import { parseSinkSecret } from '../../src/config/sink-urls.js';
import { LIKES, VIEWS } from '../../src/counters/metrics.js';
import { Feeder } from '../../src/sinks/feeder.js';
import { buildFileSink } from '../../src/sinks/file/file-sink.js';
import { buildNatsSink } from '../../src/sinks/nats/nats-sink.js';
import { PostgresSink } from '../../src/sinks/postgres/postgres-sink.js';
import type { Sink, SinkOptions } from '../../src/sinks/sink.js';
import { buildWebhookSink } from '../../src/sinks/webhook/webhook-sink.js';
import type { RedisStore } from '../../src/store/redis/redis-store.js';
import { BUCKETS, key, like, METRICS, postIn, Producer, START_MS, view } from '../contract/operations.js';
import { applied } from '../contract/store-under-test.js';
import { hurriedClock } from '../support/hurried-clock.js';
import { type NatsServer, startNats, stopNats } from '../support/nats-server.js';
import { type PostgresServer, startPostgres, stopPostgres } from '../support/postgres-server.js';
import { startRedis, stopRedis } from '../support/redis-server.js';
import { makeMilestonesFinal, openRedisStore } from '../support/redis-store.js';
import { until } from '../support/until.js';
import { RowConsumer } from './row-consumer.js';
import { SECRET, WebhookServer } from './webhook-server.js';

const POST = postIn(0);
const OTHER = postIn(0, 1);
const ANN = key(1);
const SESSION = key(9);
const AT = '2026-01-01T00:00:00.000Z';
const STREAM = 'COUNTS';
/** A cycle of a feeder that has everything. */
const INTERVAL_MS = 400;

/** A milestone as every receiver has it: `post metric n actor session v total at`. */
const FIRST = `${POST} views 3 ${text(ANN)} ${text(SESSION)} 1 4 ${AT}`;
const SECOND = `${OTHER} likes 1 ${text(ANN)} null 2 1 ${AT}`;

/** Takes what a sink sends. */
interface Receiver {
  readonly build: (options: Omit<SinkOptions, 'url'>) => Sink;
  /** The milestones that it has, each once, and how many views of OTHER. */
  read(): Promise<{ milestones: string[]; views: number }>;
  close?(): Promise<void>;
}

type Milestone = Readonly<Record<string, unknown>>;

let store: RedisStore;
let client: Redis;
let redisUrl: string;
let postgres: PostgresServer;
let nats: NatsServer;
let producer: Producer;

beforeAll(async () => {
  const server = await startRedis();
  redisUrl = server.url;
  client = server.client();
  postgres = await startPostgres();
  nats = await startNats();
});
afterAll(async () => {
  await nats.kill();
  await stopNats();
  await stopPostgres();
  await stopRedis();
});
beforeEach(async () => {
  await client.flushall();
  store = await openRedisStore(redisUrl, { metrics: METRICS, buckets: BUCKETS });
  producer = new Producer('prod-one');
});
afterEach(() => store.close());

function text(actor: typeof ANN): string {
  return String(BigInt.asIntN(64, (BigInt(actor.hi) << 32n) | BigInt(actor.lo)));
}

function describeMilestone(one: Milestone): string {
  const { post, metric, n, actor, session, v, total, at } = one as Record<string, string | number | null>;
  return [post, metric, n, actor, session, v, total, at].map(String).join(' ');
}

async function receiveInPostgres(): Promise<Receiver> {
  const database = await postgres.createDatabase();
  return {
    build: (options) => new PostgresSink({ ...options, url: database.url }),
    read: async () => {
      const rows = await database.sql<Milestone>(
        'SELECT *, reached_at AS at FROM tallycast_milestones ORDER BY post, metric, n',
      );
      const counts = await database.sql<{ views: string }>(
        `SELECT views FROM tallycast_counts WHERE post = '${OTHER}'`,
      );
      const milestones = rows.map((one) => ({ ...one, at: (one['at'] as Date).toISOString() }));
      return { milestones: milestones.map(describeMilestone), views: Number(counts[0]?.views ?? 0) };
    },
  };
}

async function receiveInWebhook(): Promise<Receiver> {
  const consumer = new RowConsumer(METRICS);
  const server = new WebhookServer(consumer);
  const url = new URL(`http://127.0.0.1:${await server.listen()}/`);
  return {
    build: (options) => buildWebhookSink({ ...options, url }, store.changeStore, parseSinkSecret(SECRET)),
    read: () =>
      Promise.resolve({
        milestones: [...new Set(server.milestones.map(describeMilestone))].sort(),
        views: consumer.counts.get(OTHER)?.totals[VIEWS] ?? 0,
      }),
    close: () => server.close(),
  };
}

/** Lines and messages are of two kinds. Those of milestones have no field of the others. */
function readLines(lines: readonly string[]): { milestones: string[]; views: number } {
  const consumer = new RowConsumer(METRICS);
  const milestones = new Set<string>();
  for (const line of lines) {
    const value = JSON.parse(line) as { type?: unknown; data: Milestone; post?: unknown };
    if (value.type !== 'milestone.reached') consumer.take(value as never);
    else if (Object.keys(value).join() === 'type,data') milestones.add(describeMilestone(value.data));
  }
  return { milestones: [...milestones].sort(), views: consumer.counts.get(OTHER)?.totals[VIEWS] ?? 0 };
}

async function receiveInFile(): Promise<Receiver> {
  const directory = await mkdtemp(join(tmpdir(), 'tallycast-milestones-'));
  const path = join(directory, 'counts.ndjson');
  return {
    build: (options) => buildFileSink({ ...options, url: pathToFileURL(path) }, store.changeStore),
    read: async () => readLines((await readFile(path, 'utf8')).split('\n').slice(0, -1)),
    close: () => rm(directory, { recursive: true }),
  };
}

function receiveInNats(): Promise<Receiver> {
  const url = new URL(`nats://127.0.0.1:${nats.port}?stream=${STREAM}`);
  return Promise.resolve({
    build: (options) => buildNatsSink({ ...options, url }, store.changeStore),
    read: async () => {
      const connection = await nats.connect();
      try {
        const { streams } = await jetstreamManager(connection);
        const lines: string[] = [];
        const { state } = await streams.info(STREAM, { subjects_filter: 'tallycast.>' });
        for (const subject of Object.keys(state.subjects!).filter((one) => one !== 'tallycast.feeder')) {
          const message = await streams.getMessage(STREAM, { last_by_subj: subject });
          lines.push(message!.string());
        }
        return readLines(lines);
      } finally {
        await connection.close();
      }
    },
  });
}

const RECEIVERS: readonly (readonly [string, () => Promise<Receiver>])[] = [
  ['PostgreSQL', receiveInPostgres],
  ['a webhook', receiveInWebhook],
  ['a file', receiveInFile],
  ['a NATS stream', receiveInNats],
];

async function commit(operations: Parameters<Producer['batch']>[1]): Promise<void> {
  await applied(store, producer.batch(0, operations, START_MS));
}

function startFeeder(receiver: Receiver): Feeder {
  const clock = hurriedClock;
  const warn = (message: string): void => {
    throw new Error(message);
  };
  const sink = receiver.build({ region: 'eu', buckets: BUCKETS, metrics: METRICS, sinkMembers: false, clock, warn });
  const options = { buckets: BUCKETS, intervalMs: INTERVAL_MS, clock, random: () => 0.5, warn };
  const feeder = new Feeder(store.changeStore, sink, { term: 1 }, options);
  feeder.start();
  return feeder;
}

describe.each(RECEIVERS)('%s', (_, open) => {
  it('gets each milestone when its record is final, and none before', async () => {
    const receiver = await open();
    const has = async (views: number): Promise<boolean> =>
      (await receiver.read().catch(() => ({ views: -1 }))).views === views;
    await store.milestones.arm(POST, VIEWS, 3);
    await store.milestones.arm(OTHER, LIKES, 1);
    // Before anything records changes.
    await commit([{ ...view(POST, 4, { session: SESSION, seq: 7 }), actor: ANN }]);
    await commit([view(OTHER)]);
    const feeder = startFeeder(receiver);
    await until(() => has(1), 'the receiver has the counts');
    await commit([like(OTHER, ANN)]);
    for (let views = 2; views < 5; views++) {
      await commit([view(OTHER)]);
      await until(() => has(views), `the receiver has ${views} views`);
    }
    expect((await receiver.read()).milestones).toEqual([]);
    await makeMilestonesFinal([client]);
    await until(async () => (await receiver.read()).milestones.length === 2, 'the receiver has the milestones');
    expect((await receiver.read()).milestones).toEqual([FIRST, SECOND].sort());
    await feeder.adopt();
    await commit([view(OTHER)]);
    await until(() => has(5), 'the receiver has the counts after the adoption');
    expect((await receiver.read()).milestones).toEqual([FIRST, SECOND].sort());
    await feeder.close();
    await receiver.close?.();
  });
});

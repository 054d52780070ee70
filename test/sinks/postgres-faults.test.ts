import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from '@jest/globals';
import { systemClock } from '../../src/common/clock.js';
import { Feeder } from '../../src/sinks/feeder.js';
import { BUCKETS, METRICS, postIn, Producer, START_MS, view } from '../contract/operations.js';
import { ReferenceStore } from '../contract/reference-store.js';
import { SCALE } from '../property/runs.js';
import { startPgbouncer, stopPgbouncer } from '../support/pgbouncer.js';
import { type PostgresServer, startPostgres, stopPostgres, type TestDatabase } from '../support/postgres-server.js';
import { Random } from '../support/random.js';
import { startProxy, type TcpProxy } from '../support/tcp-proxy.js';
import { until } from '../support/until.js';
import { closeSinks, openSink } from './postgres-fixtures.js';

const SEED = Number(process.env['TEST_SEED'] ?? Math.floor(Math.random() * 1e6));
const EVERY_BUCKET = new Set(Array.from({ length: BUCKETS }, (_, bucket) => bucket));
const POSTS = Array.from({ length: BUCKETS }, (_, bucket) => Array.from({ length: 60 }, (__, i) => postIn(bucket, i)));

/** A store whose counts change all the time, and gateways that copy them. */
class Deployment {
  readonly #store = new ReferenceStore(METRICS, BUCKETS, { region: 'eu', epoch: 1, nonce: 7 });
  readonly #producer = new Producer('producer');
  readonly #feeders: Feeder[] = [];

  constructor(private readonly random: Random) {}

  feed(url: URL): Feeder {
    const sink = openSink(url, { buckets: BUCKETS, metrics: METRICS });
    const feeder = new Feeder(
      this.#store.changeStore,
      sink,
      { term: 1 },
      {
        ...{ buckets: BUCKETS, intervalMs: 10, clock: systemClock, random: () => this.random.next() },
        warn: () => undefined,
      },
    );
    feeder.start();
    this.#feeders.push(feeder);
    return feeder;
  }

  async change(): Promise<void> {
    const bucket = this.random.below(BUCKETS);
    const operations = Array.from({ length: 1 + this.random.below(8) }, () => view(this.random.pick(POSTS[bucket]!)));
    await this.#store.commit(this.#producer.batch(bucket, operations, START_MS + this.random.below(1e6)));
  }

  /** Changes counts while `work` runs. */
  async changeDuring(work: () => Promise<void>): Promise<void> {
    const done = new AbortController();
    const changing = (async () => {
      while (!done.signal.aborted) {
        await this.change();
        await new Promise((resolve) => setTimeout(resolve, 1));
      }
    })();
    try {
      await work();
    } finally {
      done.abort();
      await changing;
    }
  }

  /** Waits until the tables equal the store. */
  async untilCopied(database: TestDatabase): Promise<void> {
    const { posts } = await this.#store.changeStore.readAll(EVERY_BUCKET, '0', Infinity);
    const wanted = posts.map(({ post, v, totals }) => `${post} ${v} ${totals.join(' ')}`).sort();
    let copied: string[] = [];
    await until(async () => {
      copied = await readCopy(database).catch(() => []);
      return copied.join() === wanted.join();
    }, 'the tables equal the store').catch(() => expect(copied).toEqual(wanted));
  }

  async close(): Promise<void> {
    await Promise.all(this.#feeders.map((feeder) => feeder.close()));
  }
}

/** No rows before the tables are made, or while the database is down. */
async function readCopy(database: TestDatabase): Promise<string[]> {
  const rows = await database.sql<{ row: string }>(
    `SELECT concat_ws(' ', post, v, likes, views, shares, saves) AS row FROM tallycast_counts`,
  );
  return rows.map(({ row }) => row).sort();
}

let server: PostgresServer;
let proxy: TcpProxy;
let database: TestDatabase;
let deployment: Deployment;

beforeAll(async () => {
  server = await startPostgres();
});
afterAll(async () => {
  await stopPgbouncer();
  await stopPostgres();
});
beforeEach(async () => {
  database = await server.createDatabase();
  proxy = await startProxy(server);
  deployment = new Deployment(new Random(SEED));
  for (let i = 0; i < 100; i++) await deployment.change();
});
afterEach(async () => {
  await deployment.close();
  await closeSinks();
  await proxy.close();
});

async function untilWritten(feeder: Feeder, posts: number): Promise<void> {
  const before = feeder.status.postsWritten;
  await until(() => feeder.status.postsWritten >= before + posts, `${posts} more posts are written`);
}

it(`the tables equal the store after the database was killed under writes (TEST_SEED=${SEED})`, async () => {
  const feeder = deployment.feed(database.url);
  for (let round = 0; round < 4 * SCALE; round++) {
    await deployment.changeDuring(async () => {
      await untilWritten(feeder, 500);
      await server.kill(round % 2 === 0 ? 'SIGKILL' : 'SIGQUIT');
      await until(() => !feeder.status.isUp, 'the feeder has noticed');
      await server.restart();
      await untilWritten(feeder, 100);
    });
    await deployment.untilCopied(database);
  }
});

it(`two gateways may feed at once, and lose their connections (TEST_SEED=${SEED})`, async () => {
  const url = database.urlWith({ port: String(proxy.port) });
  const random = new Random(SEED);
  const first = deployment.feed(url);
  await deployment.untilCopied(database);
  const second = deployment.feed(url);
  await deployment.changeDuring(async () => {
    for (let round = 0; round < 20 * SCALE; round++) {
      const before = first.status.postsWritten + second.status.postsWritten;
      await until(() => first.status.postsWritten + second.status.postsWritten > before + 50, 'they write');
      if (random.chance(0.5)) proxy.cut();
      // Replies that are lost, such as those of commits.
      let replies = random.below(10);
      proxy.onReply = () => (replies-- === 0 ? 'drop' : 'pass');
    }
  });
  proxy.onReply = null;
  await deployment.untilCopied(database);
});

it('a gateway that freezes in a transaction does not stop another one for long', async () => {
  const frozen = deployment.feed(database.urlWith({ port: String(proxy.port) }));
  await deployment.untilCopied(database);
  await deployment.changeDuring(async () => {
    await untilWritten(frozen, 10);
    let isFrozen = false;
    proxy.onReply = (chunk) => {
      // The reply may be that of any table: positions are written first, but this may be set after their reply.
      if (chunk.includes('INSERT 0')) {
        isFrozen = true;
        proxy.stall();
      }
      return 'pass';
    };
    await until(() => isFrozen, 'a transaction has written');
    const holdsRows = `SELECT FROM pg_stat_activity JOIN pg_locks USING (pid) WHERE state = 'idle in transaction'
      AND relation = 'tallycast_buckets'::regclass AND mode = 'RowExclusiveLock'`;
    await until(async () => (await database.sql(holdsRows)).length > 0, 'it holds its rows');
    const other = deployment.feed(database.url);
    await untilWritten(other, 10);
  });
  await deployment.untilCopied(database);
  proxy.onReply = null;
  proxy.resume();
});

it('gateways write through pgbouncer in transaction mode', async () => {
  const port = await startPgbouncer(database);
  const url = database.urlWith({ port: String(port) });
  const first = deployment.feed(url);
  await deployment.untilCopied(database);
  const second = deployment.feed(url);
  await deployment.changeDuring(async () => {
    await untilWritten(first, 500);
    await untilWritten(second, 500);
  });
  await deployment.untilCopied(database);
});

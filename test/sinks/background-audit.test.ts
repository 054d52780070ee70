import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from '@jest/globals';
import { type Clock, systemClock } from '../../src/common/clock.js';
import { BackgroundAudit } from '../../src/sinks/background-audit.js';
import { PostgresSink } from '../../src/sinks/postgres/postgres-sink.js';
import type { ChangeStore } from '../../src/store/change-store.js';
import { BUCKETS, METRICS } from '../contract/operations.js';
import { type PostgresServer, startPostgres, stopPostgres, type TestDatabase } from '../support/postgres-server.js';
import { until } from '../support/until.js';
import { FedStore, type FeedingGateway } from './fed-store.js';
import { closeSinks, openSink } from './postgres-fixtures.js';

const SEED = 11;
const POST = 'post.3';
/** A pass over all buckets takes a third of a second. */
const clock: Clock = { ...systemClock, after: (ms, call) => systemClock.after(ms / 200, call) };

let server: PostgresServer;
let database: TestDatabase;
let fed: FedStore;
let gateway: FeedingGateway;
let audit: BackgroundAudit;
let warnings: string[];
let passes: number;

beforeAll(async () => {
  server = await startPostgres();
});
afterAll(stopPostgres);

beforeEach(async () => {
  database = await server.createDatabase();
  fed = await FedStore.open(SEED);
  gateway = startGateway();
  await fed.change(300);
  warnings = [];
  passes = 0;
  audit = startAudit(gateway);
});
afterEach(async () => {
  await audit.close();
  await closeSinks();
  await fed.close();
});

function startGateway(): FeedingGateway {
  return fed.startGateway((options) => new PostgresSink({ ...options, url: database.url }));
}

function startAudit({ feeder }: FeedingGateway): BackgroundAudit {
  const { changeStore } = fed;
  const store: Pick<ChangeStore, 'changesSince' | 'readAll'> = {
    changesSince: (...args) => changeStore.changesSince(...args),
    readAll: (buckets, cursor, limit) => {
      if (cursor === '') passes += 1;
      return changeStore.readAll(buckets, cursor, limit);
    },
  };
  const connect = (): Promise<PostgresSink> =>
    Promise.resolve(openSink(database.url, { buckets: BUCKETS, metrics: METRICS }));
  const started = new BackgroundAudit(store, feeder, connect, {
    ...{ buckets: BUCKETS, metrics: METRICS, clock },
    warn: (message) => warnings.push(message),
  });
  started.start();
  return started;
}

/** The figures above zero. */
function found({ figures }: BackgroundAudit = audit): string[] {
  return figures.filter(({ count }) => count > 0).map(({ arm, metric, count }) => `${arm} ${metric} ${count}`);
}

async function untilFound(...expected: string[]): Promise<void> {
  await until(() => String(found()) === String(expected), `the audit finds ${expected.join() || 'nothing'}`);
}

async function untilPasses(more: number): Promise<void> {
  const wanted = passes + more;
  await until(() => passes >= wanted, `${more} passes over all posts`);
}

/** The first pass over the sums notes the differences that they begin with. */
async function untilBases(): Promise<void> {
  const readBases = async (): Promise<number> =>
    (await database.sql('SELECT 1 FROM tallycast_buckets WHERE base IS NOT NULL')).length;
  await until(() => passes > 0, 'the audit begins');
  await until(async () => (await readBases()) === BUCKETS, 'each bucket has a base');
}

async function editRow(likes: number): Promise<void> {
  await database.sql(`UPDATE tallycast_counts SET likes = likes + ${likes} WHERE post = '${POST}'`);
}

async function countConnections(): Promise<number> {
  const here = "datname = current_database() AND pid <> pg_backend_pid() AND application_name = 'tallycast'";
  return (await database.sql(`SELECT 1 FROM pg_stat_activity WHERE ${here}`)).length;
}

it('a sink has figures of zero from the beginning, and none differs while counts go on changing', async () => {
  await until(() => audit.figures.length > 0, 'the gateway feeds');
  expect(audit.figures).toHaveLength(2 * METRICS.list.length);
  const wanted = passes + 10;
  while (passes < wanted) await fed.change(40);
  await untilBases();
  await untilPasses(2);
  expect([found(), warnings]).toEqual([[], []]);
});

it('a row that was edited is counted by both arms and warned of once each, until it is right again', async () => {
  await untilBases();
  await editRow(5);
  await untilFound('sums likes 1', 'rows likes 1');
  await untilPasses(3);
  expect(found()).toEqual(['sums likes 1', 'rows likes 1']);
  const advice = / To list all differences: tallycast audit; to write .*: tallycast audit --repair$/;
  expect(warnings.toSorted()).toEqual([
    expect.stringMatching(/: it differs from the store: post post\.3 has the row likes \d+, .* and in the store likes/),
    expect.stringMatching(/: it differs from the store: the rows of bucket \d have 5 likes too many\./),
  ]);
  for (const warning of warnings) expect(warning).toMatch(advice);
  await editRow(-5);
  await untilFound();
  await editRow(-1);
  await untilFound('sums likes 1', 'rows likes 1');
  expect(warnings).toHaveLength(4);
});

it('a row that is missing counts for each metric', async () => {
  await untilPasses(2);
  await database.sql(`DELETE FROM tallycast_counts WHERE post = '${POST}'`);
  await until(() => found().filter((one) => one.startsWith('rows')).length === METRICS.list.length, 'all differ');
});

it('an audit ends with the lease, and the next one begins at zero', async () => {
  await untilBases();
  await editRow(5);
  await untilFound('sums likes 1', 'rows likes 1');
  const other = startAudit(startGateway());
  expect(other.figures).toEqual([]);
  fed.passLease(1);
  await until(() => other.figures.length > 0, 'the other gateway feeds');
  expect(audit.figures).toEqual([]);
  await until(() => found(other).length === 2, 'the other audit finds it, too');
  await until(async () => (await countConnections()) === 3, 'the connection of the first audit is closed');
  await other.close();
});

it('an audit that fails is warned of once, and goes on', async () => {
  await untilBases();
  // The feeder touches no rows while nothing changes.
  await database.sql('ALTER TABLE tallycast_counts RENAME TO hidden');
  await until(() => warnings.length === 2, 'both arms fail');
  expect(warnings.toSorted()).toEqual([
    expect.stringMatching(/: the audit of rows is tried again every half a minute: relation .* does not exist/),
    expect.stringMatching(/: the audit of sums is tried again every half a minute: relation .* does not exist/),
  ]);
  await database.sql('ALTER TABLE hidden RENAME TO tallycast_counts');
  await untilPasses(2);
  await editRow(5);
  await untilFound('sums likes 1', 'rows likes 1');
  expect(warnings).toHaveLength(4);
});

it('an audit leaves a sink alone that is halted or down', async () => {
  await audit.close();
  const { feeder } = gateway;
  let status = { ...feeder.status, isFed: true, isUp: true, haltedBuckets: 1, currentAtMs: 1 };
  let statusReads = 0;
  const stub = {
    name: feeder.name,
    get status(): typeof status {
      statusReads += 1;
      return status;
    },
  };
  passes = 0;
  audit = startAudit({ ...gateway, feeder: stub as unknown as typeof feeder });
  const untilReadAgain = (): Promise<void> => {
    const wanted = statusReads + 20;
    return until(() => statusReads > wanted, 'the audit looks at the sink');
  };
  await untilReadAgain();
  status = { ...status, isUp: false, haltedBuckets: 0 };
  await untilReadAgain();
  expect(passes).toBe(0);
  status = { ...status, isUp: true };
  await untilPasses(1);
});

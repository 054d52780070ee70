import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from '@jest/globals';
import { systemClock } from '../../src/common/clock.js';
import { SinkError } from '../../src/sinks/sink.js';
import { Audit, type AuditSummary } from '../../src/sinks/audit.js';
import type { Drift } from '../../src/sinks/audit-checks.js';
import { PostgresSink } from '../../src/sinks/postgres/postgres-sink.js';
import { BUCKETS, METRICS } from '../contract/operations.js';
import { type PostgresServer, startPostgres, stopPostgres, type TestDatabase } from '../support/postgres-server.js';
import { hurriedClock } from '../support/hurried-clock.js';
import { until } from '../support/until.js';
import { FedStore } from './fed-store.js';
import { closeSinks, openSink } from './postgres-fixtures.js';

const SEED = 7;
const POST = 'post.3';

let server: PostgresServer;
let database: TestDatabase;
let fed: FedStore;
let gateways: number;

beforeAll(async () => {
  server = await startPostgres();
});
afterAll(stopPostgres);

beforeEach(async () => {
  database = await server.createDatabase();
  fed = await FedStore.open(SEED);
  gateways = 0;
  startGateway();
  await fed.change(300);
  // The first audit waits until the rows are there, and notes by how much they differ from the sums.
  expect(await audit()).toMatchObject({ drift: 0 });
});
afterEach(async () => {
  await closeSinks();
  await fed.close();
});

/** Goes on with another gateway, which reads the positions of the sink at once; the one before does so every 30 s. */
function startGateway(): void {
  fed.startGateway((options) => new PostgresSink({ ...options, url: database.url }));
  fed.passLease(gateways++);
}

async function audit(repairs = false, clock = systemClock): Promise<AuditSummary & { readonly found: Drift[] }> {
  const found: Drift[] = [];
  const sink = openSink(database.url, { buckets: BUCKETS, metrics: METRICS });
  const summary = await new Audit(fed.changeStore, sink, {
    ...{ buckets: BUCKETS, metrics: METRICS, clock, repairs, signal: new AbortController().signal },
    report: (drift) => Promise.resolve(void found.push(drift)),
  }).run();
  return { ...summary, found };
}

async function readRow(post: string): Promise<unknown> {
  const [row] = await database.sql(`SELECT v, likes, views FROM tallycast_counts WHERE post = '${post}'`);
  return row;
}

it('a sink that has everything has no drift, while counts go on changing', async () => {
  for (let round = 0; round < 3; round++) {
    await fed.change(100);
    const [, summary] = await Promise.all([fed.change(50), audit()]);
    expect(summary).toMatchObject({ buckets: BUCKETS, drift: 0, found: [] });
    expect(summary.posts).toBeGreaterThan(50);
  }
});

it('a row that was edited is found by its sum and by itself, and is repaired only if asked', async () => {
  await database.sql(`UPDATE tallycast_counts SET likes = likes + 5 WHERE post = '${POST}'`);
  const edited = await readRow(POST);
  const { found } = await audit();
  expect(found).toEqual([
    expect.objectContaining({ arm: 'sums', metric: 'likes', difference: 5 }),
    expect.objectContaining({ arm: 'rows', post: POST }),
  ]);
  expect(await readRow(POST)).toEqual(edited);
  expect(await audit(true)).toMatchObject({ drift: 2, syncedAgain: 1 });
  startGateway();
  expect(await audit()).toMatchObject({ drift: 0, skippedBuckets: 0 });
});

it('a change that was lost is found', async () => {
  await database.sql(`UPDATE tallycast_counts SET v = v - 1, views = views - 3 WHERE post = '${POST}'`);
  expect((await audit()).found).toEqual([
    expect.objectContaining({ arm: 'sums', metric: 'views', difference: -3 }),
    expect.objectContaining({ arm: 'rows', post: POST }),
  ]);
  expect(await audit(true)).toMatchObject({ syncedAgain: 1 });
  startGateway();
  expect(await audit()).toMatchObject({ drift: 0, skippedBuckets: 0 });
});

it('a sink has no drift after the store has stopped recording changes and begun again', async () => {
  await fed.changeStore.stopRecording();
  await fed.change(100);
  expect(await audit()).toMatchObject({ drift: 0, skippedBuckets: 0 });
  await fed.change(100);
  expect(await audit()).toMatchObject({ drift: 0, skippedBuckets: 0 });
});

it('a row that was deleted is found', async () => {
  await database.sql(`DELETE FROM tallycast_counts WHERE post = '${POST}'`);
  expect((await audit()).found).toContainEqual(expect.objectContaining({ arm: 'rows', post: POST, sink: null }));
});

it('an audit of a sink that is not written any more says so to the operator', async () => {
  await database.sql('ALTER TABLE tallycast_buckets ADD CHECK (turn < 1) NOT VALID');
  await fed.change(300);
  const failure = await audit(false, hurriedClock).catch((error: unknown) => error);
  expect(failure).toBeInstanceOf(SinkError);
  expect((failure as SinkError).message).toContain('does not get what the store has: see tallycast_sink_up');
});

it('a rejected row is no drift, because tallycast_dead has its post', async () => {
  await database.sql(`ALTER TABLE tallycast_counts ADD CONSTRAINT other CHECK (post <> '${POST}') NOT VALID`);
  await fed.change(300);
  await until(async () => (await database.sql('SELECT 1 FROM tallycast_dead')).length === 1, 'the row is rejected');
  expect(await audit()).toMatchObject({ drift: 0, skippedBuckets: 1 });
});

it('an audit that is cut off ends without a result about the rest', async () => {
  const sink = openSink(database.url, { buckets: BUCKETS, metrics: METRICS });
  const options = {
    buckets: BUCKETS,
    metrics: METRICS,
    clock: systemClock,
    repairs: false,
    report: () => Promise.resolve(),
  };
  const summary = await new Audit(fed.changeStore, sink, { ...options, signal: AbortSignal.abort() }).run();
  expect(summary).toMatchObject({ posts: 0, drift: 0 });
});

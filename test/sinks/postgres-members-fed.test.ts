import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from '@jest/globals';
import { toInt64 } from '../../src/counters/ids.js';
import { PostgresSink } from '../../src/sinks/postgres/postgres-sink.js';
import { key, like, METRICS, save, unlike } from '../contract/operations.js';
import { type PostgresServer, startPostgres, stopPostgres, type TestDatabase } from '../support/postgres-server.js';
import { until } from '../support/until.js';
import { FedStore, type FeedingGateway } from './fed-store.js';
import { closeSinks, readMembers } from './postgres-fixtures.js';

const SEED = Number(process.env['TEST_SEED'] ?? 20_261_129);
const SAVED = 'post.1';

let server: PostgresServer;
let database: TestDatabase;
let fed: FedStore;

beforeAll(async () => {
  server = await startPostgres();
});
afterAll(stopPostgres);
beforeEach(async () => {
  database = await server.createDatabase();
  fed = await FedStore.open(SEED);
});
afterEach(async () => {
  await closeSinks();
  await fed.close();
});

function startGateway(sinkMembers = true): FeedingGateway {
  return fed.startGateway((options) => new PostgresSink({ ...options, sinkMembers, url: database.url }));
}

/** The members of the store, as the table has them. */
async function readStore(): Promise<string[]> {
  const members = (await fed.readMembers()).map(
    ({ post, metric, actor }) => `${post} ${METRICS.list[metric]!.name} ${toInt64(actor)}`,
  );
  return members.sort();
}

async function readTable(): Promise<string[]> {
  // The gateway makes the table with its first cycle.
  return (await readMembers(database).catch(() => [])).sort();
}

/** Waits until the table has the members of the store, which does not change meanwhile. */
async function untilEqual(): Promise<string[]> {
  const expected = (await readStore()).join('\n');
  await until(async () => (await readTable()).join('\n') === expected, 'the table has the members of the store');
  return expected.split('\n');
}

it(`members are those of the store after any changes (TEST_SEED=${SEED})`, async () => {
  startGateway();
  await fed.commit([save(SAVED, key(1)), save(SAVED, key(2))]);
  for (let round = 0; round < 10; round++) {
    await fed.change(200);
    if (round % 3 === 0) await untilEqual();
  }
  expect((await untilEqual()).length).toBeGreaterThan(100);
});

it(`a set of 20,000 members is read in pages while it changes (TEST_SEED=${SEED})`, async () => {
  const actors = Array.from({ length: 20_000 }, (_, i) => key(i));
  for (let i = 0; i < actors.length; i += 500) {
    await fed.commit(actors.slice(i, i + 500).map((actor) => like('hot', actor)));
  }
  await fed.change(200);
  startGateway();
  for (let i = 0; i < 40; i++) {
    await fed.commit([
      ...actors.slice(i * 100, i * 100 + 50).map((actor) => unlike('hot', actor)),
      ...Array.from({ length: 20 }, (_, n) => like('hot', key(30_000 + i * 20 + n))),
    ]);
    await fed.change(10);
  }
  const members = await untilEqual();
  expect(members.filter((one) => one.startsWith('hot '))).toHaveLength(20_000 - 40 * 50 + 40 * 20);
});

it(`SINK_MEMBERS may be set later, unset and set again (TEST_SEED=${SEED})`, async () => {
  const before = startGateway(false);
  await fed.change(400);
  await until(async () => (await database.sql('SELECT 1 FROM tallycast_counts').catch(() => [])).length > 0, 'rows');
  await before.close();
  fed.passLease(1);
  const members = startGateway();
  await fed.change(100);
  await untilEqual();
  await members.close();
  fed.passLease(2);
  const without = startGateway(false);
  await until(() => without.warnings.length > 0, 'the gateway without members warns');
  expect(without.warnings[0]).toMatch(/SINK_MEMBERS=true on all gateways, or DROP TABLE "public".tallycast_members$/);
  await without.close();
  await database.sql('DROP TABLE tallycast_members');
  fed.passLease(3);
  startGateway();
  await fed.change(100);
  await untilEqual();
});

it(`of two gateways the one that feeds writes members, also after a takeover (TEST_SEED=${SEED})`, async () => {
  startGateway();
  startGateway();
  for (let round = 0; round < 6; round++) {
    fed.passLease(round % 2);
    await fed.change(200);
    if (round % 2 === 1) await untilEqual();
  }
  await untilEqual();
});

it(`members that a store has lost with its last changes leave the table (TEST_SEED=${SEED})`, async () => {
  startGateway();
  await fed.change(300);
  await untilEqual();
  // The first change that is recorded: a store without one would be taken for an emptied one.
  await fed.change(10);
  await untilEqual();
  await fed.fallBack(async () => {
    fed.passLease(1);
    startGateway();
    // Some posts are new, and will be unknown to the store.
    await fed.change(300, 90);
    await untilEqual();
  });
  fed.passLease(2);
  startGateway();
  await fed.change(1, 1);
  await untilEqual();
});

it(`a table follows a store that was emptied, once it has adopted it (TEST_SEED=${SEED})`, async () => {
  const first = startGateway();
  await fed.change(300);
  await untilEqual();
  await first.close();
  await fed.close();
  fed = await FedStore.open(SEED + 1, 2);
  await fed.change(50, 10);
  const before = await readTable();
  const gateway = startGateway();
  await until(() => gateway.warnings.length > 0, 'the sink is halted');
  expect(await readTable()).toEqual(before);
  await gateway.feeder.adopt();
  const members = await untilEqual();
  expect(members.length).toBeLessThan(before.length);
});

import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from '@jest/globals';
import { fromInt64 } from '../../src/counters/ids.js';
import { Metrics } from '../../src/counters/metrics.js';
import type { PostMilestone } from '../../src/counters/milestones.js';
import type { PostgresSink } from '../../src/sinks/postgres/postgres-sink.js';
import { postIn } from '../contract/operations.js';
import { type PostgresServer, startPostgres, stopPostgres, type TestDatabase } from '../support/postgres-server.js';
import { changes, closeSinks, counts, openSink, readTable, START_MS } from './postgres-fixtures.js';

const METRICS = Metrics.parse('likes:toggle,views:tally');
const POST = postIn(0);
const REACHED: PostMilestone = {
  ...{ post: POST, metric: 1, n: 2 ** 53 - 1, actor: fromInt64(-4711n), session: fromInt64(2n ** 63n - 1n), seq: 7 },
  ...{
    kind: 'add',
    value: 3,
    total: 2 ** 53 - 1,
    v: 12,
    region: 'eu',
    epoch: 4,
    atMs: START_MS,
    recordedAtMs: START_MS,
  },
  missed: false,
};
const MISSED: PostMilestone = { ...REACHED, n: 5, actor: null, session: null, seq: 0, value: 0, missed: true };
const DROP = 'DROP TABLE tallycast_milestones';

let server: PostgresServer;
let database: TestDatabase;

beforeAll(async () => {
  server = await startPostgres();
});
afterAll(stopPostgres);
beforeEach(async () => {
  database = await server.createDatabase();
});
afterEach(closeSinks);

async function readySink(url = database.url): Promise<PostgresSink> {
  const sink = openSink(url, { metrics: METRICS });
  await sink.readPositions();
  return sink;
}

async function failure(of: Promise<unknown>): Promise<string> {
  const error = await of.then(
    () => null,
    (one: unknown) => one as Error,
  );
  expect(error).toMatchObject({ isConfiguration: true, message: expect.not.stringContaining('\n') });
  return error!.message;
}

async function readMilestones(): Promise<string[]> {
  const rows = await database.sql<Record<'text', string>>(
    `SELECT concat_ws(' ', post, metric, n, v, region, actor, session, seq, kind, value, total, reached_at AT TIME ZONE 'UTC', missed)
      AS text FROM tallycast_milestones ORDER BY post, metric, n`,
  );
  return rows.map(({ text }) => text);
}

it('milestones are written with the counts, exactly and once', async () => {
  const sink = await readySink();
  expect(await sink.write([changes(1, [counts(POST, 12)], { milestones: [REACHED, MISSED] })])).toBe(true);
  const another = { ...REACHED, actor: fromInt64(1n), v: 13 };
  expect(await sink.write([changes(2, [], { milestones: [another, REACHED] })])).toBe(true);
  const reached = `${2 ** 53 - 1} 12 eu -4711 9223372036854775807 7 add 3 ${2 ** 53 - 1}`;
  expect(await readMilestones()).toEqual([
    `${POST} views 5 12 eu 0 add 0 ${2 ** 53 - 1} 2026-01-01 00:00:00.123 t`,
    `${POST} views ${reached} 2026-01-01 00:00:00.123 f`,
  ]);
  expect(await readTable(database)).toHaveLength(1);
});

it('rows are read page by page, as they were sent', async () => {
  const sink = await readySink();
  await sink.write([changes(1, [], { milestones: [REACHED, MISSED] })]);
  const [first, ...others] = await sink.milestones.readAll(null, 1);
  expect(others).toEqual([]);
  const rows = [first!, ...(await sink.milestones.readAll(first!, 5))];
  expect(rows.map((row) => ({ ...row, metric: 1, recordedAtMs: START_MS }))).toEqual([MISSED, REACHED]);
});

it('tables of an earlier version get the table with the first milestone', async () => {
  await readySink();
  await database.sql(DROP);
  const sink = await readySink();
  expect(await sink.write([changes(1, [counts(POST, 1)])])).toBe(true);
  expect(await sink.milestones.readAll(null, 5)).toEqual([]);
  expect(await sink.write([changes(2, [], { milestones: [REACHED] })])).toBe(true);
  expect(await readMilestones()).toHaveLength(1);
});

it('a user that may not make the table writes counts until a milestone is reached, and gets the statements then', async () => {
  await readySink();
  await database.sql(DROP);
  await database.sql(`CREATE ROLE milestone_writer LOGIN PASSWORD 'x'; GRANT pg_read_all_data TO milestone_writer`);
  await database.sql('GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO milestone_writer');
  const sink = await readySink(database.urlWith({ username: 'milestone_writer', password: 'x' }));
  expect(await sink.write([changes(1, [counts(POST, 1)])])).toBe(true);
  const message = await failure(sink.write([changes(2, [], { milestones: [REACHED] })]));
  expect(message).toMatch(/^permission denied for schema public: run as the owner of the tables: CREATE TABLE IF NOT /);
  await database.sql(/CREATE .*/.exec(message)![0]);
  await sink.readPositions();
  expect(await sink.write([changes(2, [], { milestones: [REACHED] })])).toBe(true);
});

it('rows stay when the other tables are dropped and made again, and when the store is adopted', async () => {
  const sink = await readySink();
  await sink.write([changes(1, [counts(POST, 1)], { milestones: [REACHED] })]);
  await sink.adopt();
  await database.sql('DROP TABLE tallycast_source, tallycast_buckets, tallycast_counts, tallycast_dead');
  await readySink();
  expect(await readMilestones()).toHaveLength(1);
});

it('a constraint that rejects a milestone is reported, and nothing is written', async () => {
  const sink = await readySink();
  await database.sql('ALTER TABLE tallycast_milestones ADD CHECK (n < 100)');
  const message = await failure(sink.write([changes(1, [counts(POST, 1)], { milestones: [REACHED] })]));
  expect(message).toMatch(
    /nothing is written until the constraint or trigger that was added to tallycast_milestones is/,
  );
  expect(await readTable(database)).toEqual([]);
});

it('a user without rights for the table gets them named', async () => {
  await readySink();
  await database.sql(`CREATE ROLE milestone_reader LOGIN PASSWORD 'x'`);
  const grants = openSink(database.url, { metrics: METRICS }).schemaSql;
  expect(grants).toMatch(/GRANT SELECT, INSERT, UPDATE, DELETE ON "public".tallycast_milestones TO/);
  const others = 'tallycast_source, tallycast_buckets, tallycast_counts, tallycast_dead';
  await database.sql(`GRANT SELECT, INSERT, UPDATE, DELETE ON ${others} TO milestone_reader`);
  const sink = await readySink(database.urlWith({ username: 'milestone_reader', password: 'x' }));
  const message = await failure(sink.write([changes(1, [], { milestones: [REACHED] })]));
  await database.sql(/GRANT .*/.exec(message)![0]);
  await sink.readPositions();
  expect(await sink.write([changes(1, [], { milestones: [REACHED] })])).toBe(true);
});

import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from '@jest/globals';
import { NOT_SYNCED } from '../../src/counters/changed-posts.js';
import type { PostgresSink } from '../../src/sinks/postgres/postgres-sink.js';
import { BUCKETS, METRICS } from '../contract/operations.js';
import { type PostgresServer, startPostgres, stopPostgres, type TestDatabase } from '../support/postgres-server.js';
import { until } from '../support/until.js';
import { FedStore } from './fed-store.js';
import { changes, closeSinks, counts, openSink, positionRead, readDead, readTable } from './postgres-fixtures.js';

let server: PostgresServer;
let database: TestDatabase;
let sink: PostgresSink;
let warnings: string[];

beforeAll(async () => {
  server = await startPostgres();
});
afterAll(stopPostgres);
beforeEach(async () => {
  database = await server.createDatabase();
  warnings = [];
  sink = openSink(database.url, {}, warnings);
  await sink.readPositions();
});
afterEach(closeSinks);

async function rejectAbove100(): Promise<void> {
  await database.sql('ALTER TABLE tallycast_counts ADD CONSTRAINT few CHECK (likes < 100)');
}

/** As many posts with 1 like each. */
function accepted(length: number): ReturnType<typeof counts>[] {
  return Array.from({ length }, (_, i) => counts(`good-${i}`, 1));
}

it('only rejected rows are dead, the others are written, and the position advances', async () => {
  await sink.write([changes(1, [counts('bad', 7)])]);
  await rejectAbove100();
  const posts = [...accepted(300), counts('bad', 100), counts('worse', 200)];
  expect(await sink.write([changes(2, posts)])).toBe(true);
  expect(await readDead(database)).toEqual(['bad 100 23514 1', 'worse 200 23514 1']);
  const rows = await readTable(database);
  expect(rows).toHaveLength(301);
  expect(rows).toContain('bad 1.7 7 0');
  expect([sink.deadCount, sink.rejections]).toEqual([2, 2]);
  expect(await sink.readPositions()).toEqual(new Map([[0, positionRead(2)]]));
  expect(warnings).toEqual([expect.stringContaining('2 rows were rejected, such as that of post bad: new row for')]);
});

it('a later change of a dead post is tried again, and forgets it if it is accepted', async () => {
  await rejectAbove100();
  await sink.write([changes(1, [...accepted(5), counts('bad', 100)])]);
  await sink.write([changes(2, [counts('good-1', 2), counts('bad', 101)])]);
  expect(await readDead(database)).toEqual(['bad 101 23514 2']);
  expect([sink.deadCount, sink.rejections]).toEqual([1, 2]);
  expect(warnings).toHaveLength(1);
  await database.sql('ALTER TABLE tallycast_counts DROP CONSTRAINT few');
  await sink.write([changes(3, [counts('good-1', 3), counts('bad', 102)])]);
  expect(await readDead(database)).toEqual([]);
  expect(sink.deadCount).toBe(0);
  expect((await readTable(database)).slice(0, 3)).toEqual(['bad 1.102 102 0', 'good-0 1.1 1 0', 'good-1 1.3 3 0']);
});

it('the message of a trigger is noted in one line', async () => {
  await database.sql(`CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN RAISE EXCEPTION E'first\\nsecond'; END $$;
    CREATE TRIGGER refuse BEFORE INSERT ON tallycast_counts FOR EACH ROW EXECUTE FUNCTION refuse()`);
  await sink.write([changes(1, [counts('a', 1)])]);
  expect(await database.sql('SELECT reason FROM tallycast_dead')).toEqual([{ reason: 'first second' }]);
  expect(warnings).toEqual([expect.stringContaining('such as that of post a: first second. They are in')]);
});

it('another gateway knows which posts are dead', async () => {
  await rejectAbove100();
  await sink.write([changes(1, [counts('bad', 100)])]);
  await database.sql('ALTER TABLE tallycast_counts DROP CONSTRAINT few');
  const other = openSink(database.url);
  await other.readPositions();
  expect(other.deadCount).toBe(1);
  await other.write([changes(2, [counts('bad', 101)])]);
  expect(await readDead(database)).toEqual([]);
});

it('a retry has the buckets of dead posts sent again, which are dead until they have their rows', async () => {
  await rejectAbove100();
  await sink.write([changes(1, [counts('bad', 100)]), changes(1, [counts('good', 1)], { bucket: 1 })]);
  await database.sql('ALTER TABLE tallycast_counts DROP CONSTRAINT few');
  expect(await openSink(database.url).retryDead()).toBe(1);
  expect(await sink.write([changes(2, [])])).toBe(false);
  expect(await sink.readPositions()).toEqual(
    new Map([
      [0, { ...positionRead(1), upTo: NOT_SYNCED }],
      [1, positionRead(1)],
    ]),
  );
  expect(await readDead(database)).toEqual(['bad 100 23514 1']);
  await sink.write([changes(2, [counts('bad', 100)], { endsFullSync: true })]);
  expect(await readDead(database)).toEqual([]);
  expect(await readTable(database)).toEqual(['bad 1.100 100 0', 'good 1.1 1 0']);
});

it.each([
  ['a column that was made smaller', 'ALTER TABLE tallycast_counts ALTER likes TYPE smallint', '22003'],
  [
    'a constraint that is checked at the end of the transaction',
    `CREATE FUNCTION reject() RETURNS trigger LANGUAGE plpgsql AS
       $$ BEGIN IF new.likes > 40000 THEN RAISE EXCEPTION 'too many'; END IF; RETURN NULL; END $$;
     CREATE CONSTRAINT TRIGGER late AFTER INSERT OR UPDATE ON tallycast_counts DEFERRABLE INITIALLY DEFERRED
       FOR EACH ROW EXECUTE FUNCTION reject()`,
    'P0001',
  ],
])('%s rejects rows, not the write', async (_, change, state) => {
  await database.sql(change);
  expect(await sink.write([changes(1, [...accepted(9), counts('bad', 40_001)])])).toBe(true);
  expect(await readDead(database)).toEqual([`bad 40001 ${state} 1`]);
  expect(await readTable(database)).toHaveLength(9);
});

it('a rejected post of a full sync keeps its row, until the store has lost it', async () => {
  await sink.write([changes(1, [counts('bad', 7)])]);
  await rejectAbove100();
  await sink.write([changes(NOT_SYNCED, [counts('bad', 100)], { epoch: 2 })]);
  await sink.write([changes(2, [counts('good', 1)], { epoch: 2, endsFullSync: true })]);
  expect(await readTable(database)).toEqual(['bad 1.7 7 0', 'good 2.1 1 0']);
  await sink.write([changes(3, [], { epoch: 3, endsFullSync: true })]);
  expect(await readTable(database)).toEqual(['bad 3.0 0 0', 'good 3.0 0 0']);
  expect(await readDead(database)).toEqual([]);
  expect(sink.deadCount).toBe(0);
});

it('a dead post that never had a row is forgotten when the store has lost it', async () => {
  await rejectAbove100();
  await sink.write([changes(1, [counts('bad', 100)]), changes(1, [counts('other', 100)], { bucket: 1 })]);
  await sink.write([changes(2, [], { epoch: 2, endsFullSync: true })]);
  expect(await readDead(database)).toEqual(['other 100 23514 1']);
  expect(sink.deadCount).toBe(1);
});

it('posts that are dead already do not stop the sink, however many change at once', async () => {
  await rejectAbove100();
  const posts = Array.from({ length: 150 }, (_, i) => counts(`bad-${i}`, 100));
  await sink.write([changes(1, posts.slice(0, 75))]);
  await sink.write([changes(2, posts.slice(75))]);
  expect(await sink.write([changes(3, [...accepted(9), ...posts])])).toBe(true);
  expect(await readTable(database)).toHaveLength(9);
  expect(sink.deadCount).toBe(150);
});

it('a write that makes more than 100 posts dead stops the sink, and writes nothing', async () => {
  await rejectAbove100();
  const posts = Array.from({ length: 101 }, (_, i) => counts(`bad-${i}`, 100));
  await expect(sink.write([changes(1, [...accepted(9), ...posts])])).rejects.toMatchObject({
    isConfiguration: true,
    message: expect.stringMatching(/^over 100 rows of one write were rejected, such as: new row .*"few": change/),
  });
  expect([await readDead(database), await readTable(database)]).toEqual([[], []]);
  expect(await sink.readPositions()).toEqual(new Map());
});

it('more than 10,000 dead posts stop the sink', async () => {
  await rejectAbove100();
  await database.sql(
    `INSERT INTO tallycast_dead SELECT 'dead-' || i, 0, 1, 1, '23514', '', 1 FROM generate_series(1, 10000) i`,
  );
  await expect(sink.write([changes(1, [counts('bad', 100)])])).rejects.toMatchObject({
    isConfiguration: true,
    message: expect.stringMatching(/^over 10000 posts have rejected rows, such as: new row/),
  });
});

it('a retry of a halted bucket sends its posts when the halt ends', async () => {
  const fed = await FedStore.open(3);
  const options = { buckets: BUCKETS, metrics: METRICS };
  const fedDatabase = await server.createDatabase();
  const { feeder } = fed.startGateway(() => openSink(fedDatabase.url, options));
  const untilRow = async (condition: string, what: string): Promise<void> =>
    until(async () => (await fedDatabase.sql(`SELECT 1 WHERE ${condition}`)).length > 0, what);
  // Positions of an incarnation that the store does not know stand for a store that was exchanged.
  const exchangeStore = async (by: number): Promise<void> => {
    await fedDatabase.sql(`UPDATE tallycast_buckets SET turn = turn + 1, epoch = epoch + ${by}`);
    feeder.recheck();
  };
  await fed.change(100);
  await until(() => feeder.status.currentAtMs !== null, 'the sink has everything');
  await fedDatabase.sql(`ALTER TABLE tallycast_counts ADD CONSTRAINT other CHECK (post <> 'post.3') NOT VALID`);
  while (feeder.status.deadRows === 0) await fed.change(100);
  await exchangeStore(5);
  await until(() => feeder.status.haltedBuckets === BUCKETS, 'all buckets are halted');
  await fedDatabase.sql('ALTER TABLE tallycast_counts DROP CONSTRAINT other');
  expect(await feeder.retryDead()).toBe(1);
  expect([feeder.status.haltedBuckets, feeder.status.deadRows]).toEqual([BUCKETS, 1]);
  await exchangeStore(-5);
  const row = (await fed.readCounts()).get('post.3')!;
  await untilRow(
    `EXISTS (SELECT FROM tallycast_counts WHERE post = 'post.3' AND v = ${row.v})`,
    'the post has its row',
  );
  expect(await readDead(fedDatabase)).toEqual([]);
  await fed.close();
});

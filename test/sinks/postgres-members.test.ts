import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { toActorKey } from '../../src/access/name-hashing.js';
import { NOT_SYNCED } from '../../src/counters/changed-posts.js';
import { Metrics } from '../../src/counters/metrics.js';
import type { PostgresSink } from '../../src/sinks/postgres/postgres-sink.js';
import type { SinkError } from '../../src/sinks/sink.js';
import { postIn } from '../contract/operations.js';
import { type PostgresServer, startPostgres, stopPostgres, type TestDatabase } from '../support/postgres-server.js';
import {
  changes,
  closeSinks,
  counts,
  member,
  openSink,
  positionRead,
  readDead,
  readMembers,
  readTable,
} from './postgres-fixtures.js';

const METRICS = Metrics.parse('likes:toggle,views:tally,saves:toggle');
const SAVES = 2;
const DROP_OTHERS = 'DROP TABLE tallycast_source, tallycast_buckets, tallycast_counts, tallycast_dead';
/** Posts of bucket 0, in the order of their names. */
const [A, B, C] = [postIn(0), postIn(0, 1), postIn(0, 2)].sort() as [string, string, string];

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

/** A sink with members that has read its positions. */
async function readySink(options: Parameters<typeof openSink>[1] = {}): Promise<PostgresSink> {
  const sink = openSink(database.url, { metrics: METRICS, sinkMembers: true, ...options });
  await sink.readPositions();
  return sink;
}

async function failure(of: Promise<unknown>): Promise<SinkError> {
  const error = await of.then(
    () => null,
    (one: unknown) => one as SinkError,
  );
  expect(error).toMatchObject({ isConfiguration: true, message: expect.not.stringContaining('\n') });
  return error!;
}

describe('writes', () => {
  it('members join and leave in the transaction of the counts', async () => {
    const sink = await readySink();
    const joins = [member(A, 1), member(A, 2), member(A, 1, true, SAVES), member(B, -5), member(B, 9, false)];
    expect(await sink.write([changes(1, [counts(A, 1), counts(B, 1)], { members: joins })])).toBe(true);
    expect(await readMembers(database)).toEqual([`${A} likes 1`, `${A} likes 2`, `${A} saves 1`, `${B} likes -5`]);
    const leaves = [member(A, 1, false), member(B, -5, false), member(B, 6)];
    expect(await sink.write([changes(2, [counts(A, 2)], { members: leaves })])).toBe(true);
    expect(await readMembers(database)).toEqual([`${A} likes 2`, `${A} saves 1`, `${B} likes 6`]);
    expect(await sink.write([changes(3, [], { members: [member(B, 6)] })])).toBe(true);
    expect(await database.sql(`SELECT turn FROM tallycast_members WHERE post = '${B}'`)).toEqual([{ turn: '3' }]);
  });

  it('with ACTOR_KEYS=int64 the number of an actor stands in the table', async () => {
    const names = ['4711', '-4711', '0', '9223372036854775807', '-9223372036854775808', '4294967296'];
    const members = names.map((name) => ({ ...member(A, 0), actor: toActorKey(name, 'int64')! }));
    const sink = await readySink();
    await sink.write([changes(1, [counts(A, 6)], { members })]);
    const actors = await database.sql<{ actor: string }>('SELECT actor FROM tallycast_members ORDER BY actor');
    expect(actors.map(({ actor }) => actor).sort()).toEqual(names.toSorted());
    expect(await database.sql('SELECT post FROM tallycast_members WHERE actor = 4711')).toEqual([{ post: A }]);
    const first = { post: A, metric: 'likes', actor: -9223372036854775808n };
    expect(await sink.members.readAll(null, 1)).toEqual([first]);
    expect((await sink.members.readAll(first, 2)).map(({ actor }) => actor)).toEqual([-4711n, 0n]);
  });

  it('with ACTOR_KEYS=hash SQL finds the key of a name', async () => {
    const sink = await readySink();
    const actor = toActorKey('ada', 'hash')!;
    await sink.write([changes(1, [counts(A, 1)], { members: [{ ...member(A, 0), actor }] })]);
    const key = "('x' || left(encode(sha256('ada'), 'hex'), 16))::bit(64)::bigint";
    expect(await database.sql(`SELECT post FROM tallycast_members WHERE actor = ${key}`)).toEqual([{ post: A }]);
  });

  it('of two writers the one that is overtaken writes no members', async () => {
    const [first, second] = [await readySink(), await readySink()];
    await first.write([changes(1, [counts(A, 1)], { members: [member(A, 1)] })]);
    expect(await second.write([changes(1, [counts(A, 1)], { members: [member(A, 2)] })])).toBe(false);
    expect(await readMembers(database)).toEqual([`${A} likes 1`]);
  });

  it('members of a post whose row is rejected are written', async () => {
    const sink = await readySink();
    await database.sql('ALTER TABLE tallycast_counts ADD CHECK (likes < 5)');
    await sink.write([changes(1, [counts(A, 7)], { members: [member(A, 1)] })]);
    expect(await readDead(database)).toEqual([`${A} 7 23514 1`]);
    expect(await readMembers(database)).toEqual([`${A} likes 1`]);
  });

  it('a constraint that rejects a member stops all writes, and is reported', async () => {
    const sink = await readySink();
    await database.sql('ALTER TABLE tallycast_members ADD CONSTRAINT positive CHECK (actor > 0)');
    const write = sink.write([changes(1, [counts(A, 1)], { members: [member(A, -1)] })]);
    expect((await failure(write)).message).toMatch(
      /^tallycast_members: .*constraint "positive": nothing is written until the constraint or trigger/,
    );
    expect(await readTable(database)).toEqual([]);
  });
});

describe('full syncs', () => {
  it('members that the store does not have any more are pruned once all of their post were sent', async () => {
    const sink = await readySink();
    const before = [member(A, 1), member(A, 2), member(A, 1, true, SAVES), member(B, 1)];
    await sink.write([changes(5, [counts(A, 3), counts(B, 1)], { members: before })]);
    const page = (more: Parameters<typeof changes>[2]): ReturnType<typeof changes> =>
      changes(NOT_SYNCED, [], { epoch: 2, ...more });
    await sink.write([page({ posts: [counts(A, 2)], startsFullSync: true })]);
    await sink.write([page({ members: [member(A, 3)] })]);
    await sink.write([page({ members: [member(A, 2), member(A, 4, false)] })]);
    expect(await readMembers(database)).toEqual([
      ...[1, 2, 3].map((actor) => `${A} likes ${actor}`),
      ...[`${A} saves 1`, `${B} likes 1`],
    ]);
    await sink.write([page({ postsWithAllMembers: [A] })]);
    expect(await readMembers(database)).toEqual([`${A} likes 2`, `${A} likes 3`, `${B} likes 1`]);
  });

  it('members that somebody else wrote are pruned, whatever their turn', async () => {
    const sink = await readySink();
    await database.sql(`INSERT INTO tallycast_members VALUES ('${A}', 'likes', 1, 99), ('${A}', 'hits', 1, 0)`);
    const write = { members: [member(A, 2)], postsWithAllMembers: [A], startsFullSync: true };
    await sink.write([changes(NOT_SYNCED, [counts(A, 1)], write)]);
    expect(await readMembers(database)).toEqual([`${A} likes 2`]);
  });

  it('posts that were lost in the store lose their members', async () => {
    const sink = await readySink();
    await database.sql('ALTER TABLE tallycast_counts ADD CHECK (likes < 5)');
    // The row of C is rejected, so that only tallycast_dead has it.
    const members = [member(A, 1), member(B, 1), member(C, 1)];
    await sink.write([changes(5, [counts(A, 1), counts(B, 1), counts(C, 7)], { members })]);
    const all = { startsFullSync: true, endsFullSync: true, postsWithAllMembers: [A] };
    await sink.write([changes(9, [counts(A, 1)], { epoch: 2, members: [member(A, 1)], ...all })]);
    expect(await readMembers(database)).toEqual([`${A} likes 1`]);
    expect((await readTable(database)).sort()).toEqual([`${A} 2.1 1 0`, `${B} 2.0 0 0`].sort());
  });

  it('more members are pruned than one statement deletes', async () => {
    const sink = await readySink();
    await database.sql(
      `INSERT INTO tallycast_members SELECT '${A}', 'likes', actor, 0 FROM generate_series(1, 120000) AS t(actor)`,
    );
    const write = { members: [member(A, 7)], postsWithAllMembers: [A], startsFullSync: true };
    await sink.write([changes(NOT_SYNCED, [counts(A, 1)], write)]);
    expect(await readMembers(database)).toEqual([`${A} likes 7`]);
  });
});

describe('SINK_MEMBERS', () => {
  it('tables that have counts get members, and everything is sent again', async () => {
    const before = await readySink({ sinkMembers: false });
    await before.write([changes(5, [counts(A, 9)], { sums: [9, 0, 0] })]);
    await database.sql('UPDATE tallycast_buckets SET base = ARRAY[1, 2, 3]');
    const after = await readySink();
    expect(await after.readPositions()).toEqual(new Map([[0, { ...positionRead(5), upTo: NOT_SYNCED }]]));
    expect(await database.sql('SELECT turn, sums, base FROM tallycast_buckets WHERE bucket = 0')).toEqual([
      { turn: '2', sums: null, base: null },
    ]);
    expect(await after.write([changes(6, [counts(A, 9)], { members: [member(A, 1)], startsFullSync: true })])).toBe(
      true,
    );
    // Another gateway finds them.
    expect(await (await readySink()).readPositions()).toEqual(new Map([[0, positionRead(6)]]));
    // The one without members writes no more.
    expect(await before.write([changes(7, [counts(A, 10)])])).toBe(false);
    expect((await failure(before.readPositions())).message).toBe(
      'the tables have members, which would not be those of the store any more, because SINK_MEMBERS is false: set SINK_MEMBERS=true ' +
        'on all gateways, or DROP TABLE "public".tallycast_members',
    );
    await database.sql('DROP TABLE "public".tallycast_members');
    expect(await before.readPositions()).toEqual(new Map([[0, positionRead(6)]]));
    expect(await before.write([changes(7, [counts(A, 10)])])).toBe(true);
  });

  it('two gateways that start with it at once make the table once', async () => {
    await readySink({ sinkMembers: false });
    await Promise.all([readySink(), readySink(), readySink()]);
    expect(await database.sql('SELECT turn FROM tallycast_buckets WHERE bucket = 0')).toEqual([{ turn: '1' }]);
  });

  it('a user that may not make the table is reported, and works with the one that an operator made', async () => {
    await readySink({ sinkMembers: false });
    await database.sql(`CREATE ROLE member_writer LOGIN PASSWORD 'x'; GRANT pg_read_all_data TO member_writer`);
    const url = database.urlWith({ username: 'member_writer', password: 'x' });
    const sink = openSink(url, { metrics: METRICS, sinkMembers: true });
    await database.sql('GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO member_writer');
    const { message } = await failure(sink.readPositions());
    expect(message).toMatch(/^permission denied for schema public: run as the owner of the tables: BEGIN; /);
    await database.sql(/BEGIN; .*COMMIT/.exec(message)![0]);
    await sink.readPositions();
    expect(await sink.write([changes(1, [counts(A, 1)], { members: [member(A, 1)] })])).toBe(true);
  });

  it('the printed schema has the table, and rights for it, if it is set', async () => {
    const sink = openSink(database.url, { metrics: METRICS, sinkMembers: true });
    await database.sql(sink.schemaSql);
    await sink.readPositions();
    expect(await sink.write([changes(1, [counts(A, 1)], { members: [member(A, 1)] })])).toBe(true);
    expect(sink.schemaSql).toMatch(/GRANT .*"public".tallycast_members TO/);
    expect(openSink(database.url, { metrics: METRICS }).schemaSql).not.toContain('tallycast_members');
  });

  it.each([
    ['a column that was dropped', 'ALTER TABLE tallycast_members DROP turn', 'column "turn"'],
    ['a key that was dropped', 'ALTER TABLE tallycast_members DROP CONSTRAINT tallycast_members_pkey', 'no unique'],
    ['members that are left from dropped tables', DROP_OTHERS, '"tallycast_members" already exists'],
  ])('%s is reported', async (_, change, text) => {
    await readySink();
    await database.sql(change);
    const sink = openSink(database.url, { metrics: METRICS, sinkMembers: true });
    const { message } = await failure(
      sink.readPositions().then(() => sink.write([changes(1, [counts(A, 1)], { members: [member(A, 1)] })])),
    );
    expect(message).toContain(text);
    expect(message).toContain('"public".tallycast_members to have them made and written again');
  });
});

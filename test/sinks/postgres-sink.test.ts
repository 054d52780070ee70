import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { NOT_SYNCED } from '../../src/counters/changed-posts.js';
import { Metrics } from '../../src/counters/metrics.js';
import { type PostgresServer, startPostgres, stopPostgres, type TestDatabase } from '../support/postgres-server.js';
import { startProxy } from '../support/tcp-proxy.js';
import { changes, closeSinks, counts, openSink, positionRead, readTable, START_MS } from './postgres-fixtures.js';

const MORE_METRICS = Metrics.parse('likes:toggle,views:tally,shares:tally');
/** The second generation of the tables, as the upper half of an epoch. */
const GENERATION = 2 ** 32;

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

/** A sink that has read its positions. */
async function readySink(options: Parameters<typeof openSink>[1] = {}): Promise<ReturnType<typeof openSink>> {
  const sink = openSink(database.url, options);
  await sink.readPositions();
  return sink;
}

describe('writes', () => {
  it('new tables have no positions', async () => {
    expect(await openSink(database.url).readPositions()).toEqual(new Map());
    expect(await readTable(database)).toEqual([]);
  });

  it('rows and positions of several buckets are written together', async () => {
    const sink = await readySink();
    const writes = [
      changes(7, [counts('b', 3, [2, 1]), counts('a', 1)], { bucket: 3, sums: [5, 1] }),
      changes(9, [counts('null', 2)], { bucket: 1 }),
    ];
    expect(await sink.write(writes)).toBe(true);
    expect(await readTable(database)).toEqual(['a 1.1 1 0', 'b 1.3 2 1', 'null 1.2 2 0']);
    const positions = new Map([
      [3, positionRead(7, 1, true)],
      [1, positionRead(9)],
    ]);
    expect(await openSink(database.url).readPositions()).toEqual(positions);
    const [row] = await database.sql('SELECT turn, sums FROM tallycast_buckets WHERE bucket = 3');
    expect(row).toEqual({ turn: '1', sums: ['5', '1'] });
  });

  it('the largest numbers are kept exactly', async () => {
    const max = Number.MAX_SAFE_INTEGER;
    const sink = await readySink();
    const at = { epoch: 4_294_967_295, nonce: 4_294_967_295, upTo: max, changedAtMs: START_MS };
    await sink.write([changes(1, [counts('a', max, [max, max])], { epoch: at.epoch, position: at, sums: [max, 0] })]);
    expect(await sink.readPositions()).toEqual(new Map([[0, { ...at, isComplete: true }]]));
    expect(await readTable(database)).toEqual([`a ${at.epoch}.${max} ${max} ${max}`]);
  });

  it('rows are read in pages, with the time of their last change', async () => {
    const sink = await readySink();
    await sink.write([changes(1, [counts('a', 1), counts('b', 2), counts('c', 3, [1, 2])])]);
    expect((await sink.readRows('', 2)).map(({ post }) => post)).toEqual(['a', 'b']);
    expect(await sink.readRows('b', 2)).toEqual([
      { post: 'c', generation: 0, epoch: 1, v: 3, updatedAtMs: START_MS + 3, totals: [1, 2] },
    ]);
    expect(await sink.readRows('c', 2)).toEqual([]);
  });

  it('an older row never replaces a newer one', async () => {
    const sink = await readySink();
    await sink.write([changes(1, [counts('a', 5), counts('b', 5)], { epoch: 2 })]);
    await sink.write([changes(2, [counts('a', 4), counts('b', 6)], { epoch: 2 })]);
    await sink.write([changes(3, [counts('a', 9), counts('b', 9)], { epoch: 1 })]);
    expect(await readTable(database)).toEqual(['a 2.5 5 0', 'b 2.6 6 0']);
    await sink.write([changes(4, [counts('a', 1)], { epoch: 3 })]);
    expect(await readTable(database)).toEqual(['a 3.1 1 0', 'b 2.6 6 0']);
  });

  it('an equal row is not written again, and one that was edited by hand is corrected', async () => {
    const sink = await readySink();
    const versions = (): Promise<unknown[]> =>
      database.sql('SELECT post, ctid::text FROM tallycast_counts ORDER BY post');
    await sink.write([changes(1, [counts('a', 5), counts('b', 5)])]);
    const before = await versions();
    await sink.write([changes(2, [counts('a', 5), counts('b', 5)])]);
    expect(await versions()).toEqual(before);
    await database.sql(`UPDATE tallycast_counts SET likes = 77 WHERE post = 'a'`);
    await sink.write([changes(3, [counts('a', 5), counts('b', 5)])]);
    expect(await readTable(database)).toEqual(['a 1.5 5 0', 'b 1.5 5 0']);
  });

  it('of a post that comes twice the newest state is written', async () => {
    const sink = await readySink();
    expect(await sink.write([changes(1, [counts('a', 2), counts('a', 3), counts('a', 1)])])).toBe(true);
    expect(await readTable(database)).toEqual(['a 1.3 3 0']);
  });

  it('tables of another schema are other tables', async () => {
    await database.sql('CREATE SCHEMA "Other ""one"');
    const other = openSink(database.urlWith({ search: `?schema=${encodeURIComponent('Other "one')}` }));
    await other.readPositions();
    await other.write([changes(1, [counts('a', 5)])]);
    const sink = await readySink();
    expect(await readTable(database)).toEqual([]);
    expect(await readTable(database, 'Other ""one')).toEqual(['a 1.5 5 0']);
    expect([sink.name, other.name]).toEqual([
      `postgres://127.0.0.1:${server.port}/${database.name}`,
      `postgres://127.0.0.1:${server.port}/${database.name}?schema=Other "one`,
    ]);
  });
});

describe('turns', () => {
  it('nothing is written before the positions were read', async () => {
    expect(await openSink(database.url).write([changes(1, [counts('a', 1)])])).toBe(false);
  });

  it('of two writers the one that is overtaken writes nothing', async () => {
    const [first, second] = [await readySink(), await readySink()];
    expect(await first.write([changes(1, [counts('a', 1)])])).toBe(true);
    expect(await second.write([changes(1, [counts('a', 2), counts('b', 1)])])).toBe(false);
    expect(await second.write([changes(2, [counts('a', 2)])])).toBe(false);
    expect(await readTable(database)).toEqual(['a 1.1 1 0']);
    await second.readPositions();
    expect(await second.write([changes(2, [counts('a', 2)])])).toBe(true);
    expect(await first.write([changes(2, [counts('a', 3)])])).toBe(false);
    expect(await readTable(database)).toEqual(['a 1.2 2 0']);
  });

  it('a write of several buckets needs the turns of all', async () => {
    const [first, second] = [await readySink(), await readySink()];
    await first.write([changes(1, [counts('a', 1)], { bucket: 2 })]);
    const writes = [changes(1, [counts('b', 1)], { bucket: 1 }), changes(1, [counts('c', 1)], { bucket: 2 })];
    expect(await second.write(writes)).toBe(false);
    expect(await readTable(database)).toEqual(['a 1.1 1 0']);
    expect(await second.readPositions()).toEqual(new Map([[2, positionRead(1)]]));
  });

  it('a commit whose reply is lost is found when the positions are read', async () => {
    const proxy = await startProxy(server);
    const sink = openSink(database.urlWith({ port: String(proxy.port) }));
    await sink.readPositions();
    proxy.onReply = (chunk) => (chunk.includes('COMMIT\0') ? 'drop' : 'pass');
    await expect(sink.write([changes(1, [counts('a', 1)])])).rejects.toMatchObject({ isConfiguration: false });
    proxy.onReply = null;
    expect(await sink.readPositions()).toEqual(new Map([[0, positionRead(1)]]));
    expect(await sink.write([changes(2, [counts('a', 2)])])).toBe(true);
    expect(await readTable(database)).toEqual(['a 1.2 2 0']);
    await proxy.close();
  });

  it('a connection that breaks is made again', async () => {
    const sink = await readySink();
    await database.sql(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'tallycast'`);
    await sink.write([changes(1, [counts('a', 1)])]).catch(() => undefined);
    await sink.readPositions();
    expect(await sink.write([changes(2, [counts('a', 2)])])).toBe(true);
  });
});

describe('full syncs', () => {
  it('the position says that a full sync has not ended', async () => {
    const sink = await readySink();
    await sink.write([changes(5, [counts('a', 1)], { sums: [1, 0] })]);
    await sink.write([changes(NOT_SYNCED, [counts('a', 2), counts('b', 2)])]);
    expect(await sink.readPositions()).toEqual(new Map([[0, positionRead(NOT_SYNCED)]]));
    const [row] = await database.sql('SELECT turn, sums FROM tallycast_buckets WHERE bucket = 0');
    expect(row).toEqual({ turn: '2', sums: null });
    expect(await readTable(database)).toEqual(['a 1.2 2 0', 'b 1.2 2 0']);
  });

  it('at its end posts of earlier epochs are zero, because the store has lost them', async () => {
    const sink = await readySink();
    const posts = Array.from({ length: 2_100 }, (_, i) => counts(`post-${i}`, 3));
    await sink.write([changes(5, posts), changes(5, [counts('other', 3)], { bucket: 1 })]);
    await sink.write([changes(NOT_SYNCED, [counts('post-7', 1)], { epoch: 2 })]);
    expect((await readTable(database)).filter((row) => !row.endsWith(' 1.3 3 0'))).toEqual(['post-7 2.1 1 0']);
    const end = changes(9, [counts('post-8', 2)], { epoch: 2, endsFullSync: true, sums: [3, 0] });
    expect(await sink.write([end])).toBe(true);
    const rows = await readTable(database);
    expect(rows.filter((row) => !row.endsWith(' 2.0 0 0'))).toEqual([
      'other 1.3 3 0',
      'post-7 2.1 1 0',
      'post-8 2.2 2 0',
    ]);
    expect(rows).toHaveLength(2_101);
    expect(await sink.readPositions()).toEqual(
      new Map([
        [0, positionRead(9, 2, true)],
        [1, positionRead(5)],
      ]),
    );
  });

  it('a post of the last write is not zero in between', async () => {
    const sink = await readySink();
    await sink.write([changes(5, [counts('a', 3)])]);
    await database.sql('ALTER TABLE tallycast_counts ADD CHECK (likes > 0)');
    await sink.write([changes(6, [counts('a', 4)], { epoch: 2, endsFullSync: true })]);
    expect(await readTable(database)).toEqual(['a 2.4 4 0']);
    expect(sink.deadCount).toBe(0);
    expect(await database.sql('SELECT turn FROM tallycast_buckets WHERE bucket = 0')).toEqual([{ turn: '2' }]);
  });

  it('rows of a full sync get its epoch, even if nothing else changed', async () => {
    const sink = await readySink();
    await sink.write([changes(5, [counts('a', 3)])]);
    await sink.write([changes(6, [counts('a', 3)], { epoch: 2, endsFullSync: true })]);
    expect(await readTable(database)).toEqual(['a 2.3 3 0']);
  });
});

describe('adoption', () => {
  it('all positions are forgotten, and whatever the store has is newer', async () => {
    const feeding = await readySink();
    await feeding.write([changes(5, [counts('a', 9), counts('b', 9)], { epoch: 7, sums: [1, 1] })]);
    await openSink(database.url).adopt();
    expect(await feeding.write([changes(6, [counts('a', 10)], { epoch: 7 })])).toBe(false);
    expect(await feeding.readPositions()).toEqual(new Map());
    expect(await feeding.write([changes(2, [counts('a', 1)], { endsFullSync: true })])).toBe(true);
    expect(await readTable(database)).toEqual([`a ${GENERATION + 1}.1 1 0`, `b ${GENERATION + 1}.0 0 0`]);
    expect(await feeding.readPositions()).toEqual(new Map([[0, positionRead(2)]]));
    expect(await feeding.readRows('', 1)).toMatchObject([{ generation: 1, epoch: 1, v: 1 }]);
  });
});

describe('metrics that are added', () => {
  it('they get a column, and everything is sent again', async () => {
    const before = await readySink();
    await before.write([changes(5, [counts('a', 9)], { sums: [9, 0] })]);
    await database.sql('UPDATE tallycast_buckets SET base = ARRAY[1, 2]');
    const after = await readySink({ metrics: MORE_METRICS });
    expect(await after.readPositions()).toEqual(new Map([[0, { ...positionRead(5), upTo: NOT_SYNCED }]]));
    const [row] = await database.sql('SELECT sums, base FROM tallycast_buckets WHERE bucket = 0');
    expect(row).toEqual({ sums: null, base: null });
    expect(await after.write([changes(6, [counts('a', 9, [9, 0, 4])])])).toBe(true);
    expect(await database.sql('SELECT likes, shares FROM tallycast_counts')).toEqual([{ likes: '9', shares: '4' }]);
  });

  it('a gateway without them writes nothing more', async () => {
    const before = await readySink();
    await readySink({ metrics: MORE_METRICS });
    expect(await before.write([changes(5, [counts('a', 9)])])).toBe(false);
    await expect(before.readPositions()).rejects.toMatchObject({
      isConfiguration: true,
      message: expect.stringContaining(`hold the metrics ${MORE_METRICS.toString()}, and METRICS is likes`),
    });
  });

  it('metrics that another deployment has added are undone as the message says, and may be added later', async () => {
    const before = await readySink();
    await readySink({ metrics: MORE_METRICS });
    const { message } = (await before.readPositions().catch((error: unknown) => error)) as Error;
    await database.sql(/UPDATE [^)]*/.exec(message)![0]);
    await before.readPositions();
    expect(await before.write([changes(5, [counts('a', 9)])])).toBe(true);
    const after = await readySink({ metrics: MORE_METRICS });
    expect(await after.write([changes(6, [counts('a', 9, [9, 0, 4])])])).toBe(true);
    expect(await database.sql('SELECT likes, shares FROM tallycast_counts')).toEqual([{ likes: '9', shares: '4' }]);
  });

  it('two gateways that start with them at once add them once', async () => {
    await readySink();
    await Promise.all([readySink({ metrics: MORE_METRICS }), readySink({ metrics: MORE_METRICS })]);
    const [row] = await database.sql('SELECT metrics FROM tallycast_source');
    expect(row).toEqual({ metrics: MORE_METRICS.toString() });
  });

  it('two gateways that start at once make the tables once', async () => {
    await Promise.all([readySink(), readySink(), readySink()]);
    expect(await database.sql('SELECT count(*)::int AS count FROM tallycast_buckets')).toEqual([{ count: 4 }]);
  });
});

import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from '@jest/globals';
import { systemClock } from '../../src/common/clock.js';
import { toInt64 } from '../../src/counters/ids.js';
import {
  auditCountedMembers,
  type MembersAuditDrift,
  type MembersAuditOptions,
  type MembersAuditSummary,
  SinkMembersAudit,
} from '../../src/sinks/audit-members.js';
import { PostgresSink } from '../../src/sinks/postgres/postgres-sink.js';
import { BUCKETS, key, like, METRICS } from '../contract/operations.js';
import { type PostgresServer, startPostgres, stopPostgres, type TestDatabase } from '../support/postgres-server.js';
import { FedStore } from './fed-store.js';
import { closeSinks, openSink, readMembers } from './postgres-fixtures.js';

const POST = 'liked';
const [ADA, GRACE] = [toInt64(key(1)), toInt64(key(2))];

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
  fed = await FedStore.open(11);
  gateways = 0;
  startGateway();
  await fed.change(300);
  await fed.commit([like(POST, key(1)), like(POST, key(2))]);
  // Waits until the members are there.
  expect(await audit()).toMatchObject({ found: [], drift: 0 });
});
afterEach(async () => {
  await closeSinks();
  await fed.close();
});

/** Goes on with another gateway, which reads the positions of the sink at once; the one before does so every 10 s. */
function startGateway(): void {
  fed.startGateway((options) => new PostgresSink({ ...options, sinkMembers: true, url: database.url }));
  fed.passLease(gateways++);
}

function optionsWith(found: MembersAuditDrift[], repairs: boolean): MembersAuditOptions {
  return {
    ...{ buckets: BUCKETS, metrics: METRICS, clock: systemClock, repairs, signal: new AbortController().signal },
    report: (drift) => Promise.resolve(void found.push(drift)),
  };
}

async function audit(repairs = false): Promise<MembersAuditSummary & { readonly found: MembersAuditDrift[] }> {
  const found: MembersAuditDrift[] = [];
  const sink = openSink(database.url, { buckets: BUCKETS, metrics: METRICS, sinkMembers: true });
  const summary = await new SinkMembersAudit(fed.changeStore, sink, optionsWith(found, repairs)).run();
  return { ...summary, found };
}

function difference(more: Partial<Record<string, unknown>>): Record<string, unknown> {
  return {
    arm: 'members',
    post: POST,
    metric: 'likes',
    missing: 0,
    missingActors: [],
    extra: 0,
    extraActors: [],
    ...more,
  };
}

/** Repairs what differs. Then nothing does. */
async function expectRepaired(drift: number): Promise<void> {
  expect(await audit(true)).toMatchObject({ drift });
  startGateway();
  expect(await audit()).toMatchObject({ found: [], drift: 0 });
}

it('members that have not changed in the table do not differ while others change', async () => {
  for (let round = 0; round < 3; round++) {
    await fed.change(100);
    const [, , { found }] = await Promise.all([fed.change(50), fed.change(50), audit()]);
    expect(found).toEqual([]);
  }
});

it('a member that was deleted is named, and written again only if the audit repairs', async () => {
  await database.sql(`DELETE FROM tallycast_members WHERE post = '${POST}' AND actor = ${ADA}`);
  const before = await readMembers(database);
  expect((await audit()).found).toEqual([difference({ missing: 1, missingActors: [String(ADA)] })]);
  expect(await readMembers(database)).toEqual(before);
  await expectRepaired(1);
  expect(await readMembers(database)).toContain(`${POST} likes ${ADA}`);
});

it('members that somebody added are named, and leave only if the audit repairs', async () => {
  await database.sql(
    `INSERT INTO tallycast_members VALUES ('${POST}', 'likes', -7, 99), ('${POST}', 'hits', 8, 0), ('unknown', 'likes', 9, 0)`,
  );
  const before = await readMembers(database);
  const { found } = await audit();
  expect(found).toHaveLength(3);
  expect(found).toEqual(
    expect.arrayContaining([
      difference({ extra: 1, extraActors: ['-7'] }),
      difference({ metric: 'hits', extra: 1, extraActors: ['8'] }),
      difference({ post: 'unknown', extra: 1, extraActors: ['9'] }),
    ]),
  );
  expect(await readMembers(database)).toEqual(before);
  await expectRepaired(3);
  expect((await readMembers(database)).filter((one) => / (-7|8|9)$/.test(one))).toEqual([]);
});

it('a member in the place of another one is found, although their number is right', async () => {
  await database.sql(`UPDATE tallycast_members SET actor = 5 WHERE post = '${POST}' AND actor = ${GRACE}`);
  expect((await audit()).found).toEqual([
    difference({ missing: 1, missingActors: [String(GRACE)], extra: 1, extraActors: ['5'] }),
  ]);
});

it('of many members that differ some are named', async () => {
  const actors = Array.from({ length: 1_500 }, (_, i) => key(1_000 + i));
  for (let i = 0; i < actors.length; i += 500) {
    await fed.commit(actors.slice(i, i + 500).map((actor) => like(POST, actor)));
  }
  expect(await audit()).toMatchObject({ drift: 0 });
  await database.sql(`DELETE FROM tallycast_members WHERE post = '${POST}'`);
  const { found } = await audit();
  expect(found).toEqual([difference({ missing: 1_000, missingActors: expect.any(Array) })]);
  expect(found[0]).toMatchObject({ missingActors: { length: 10 } });
});

it('posts count the members that they have', async () => {
  const found: MembersAuditDrift[] = [];
  expect(await auditCountedMembers(fed.changeStore, optionsWith(found, true))).toBe(0);
  // A store with a fault, because that of the test has none.
  const faulty: Parameters<typeof auditCountedMembers>[0] = {
    readAll: (...args) => fed.changeStore.readAll(...args),
    checkMembers: (posts, repairs) =>
      Promise.resolve(posts.includes(POST) ? [{ post: POST, metric: 3, counted: repairs ? 5 : 4, members: 1 }] : []),
  };
  expect(await auditCountedMembers(faulty, optionsWith(found, true))).toBe(1);
  expect(await auditCountedMembers(faulty, optionsWith(found, false))).toBe(1);
  expect(found).toEqual([
    { arm: 'members', post: POST, metric: 'saves', counted: 5, members: 1 },
    { arm: 'members', post: POST, metric: 'saves', counted: 4, members: 1 },
  ]);
});

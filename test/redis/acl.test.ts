import { readFileSync } from 'node:fs';
import { afterAll, expect, test } from '@jest/globals';
import type { Redis } from 'ioredis';
import { VIEWS } from '../../src/counters/metrics.js';
import { toKeyText } from '../../src/counters/ids.js';
import type { MilestoneNews } from '../../src/store/milestone-store.js';
import type { ChangePage } from '../../src/store/change-store.js';
import type { RedisStore } from '../../src/store/redis/redis-store.js';
import { PublishedCounts } from '../contract/published-counts.js';
import { BUCKETS, key, Producer, like, METRICS, postIn, view } from '../contract/operations.js';
import { ROOT } from '../support/gateway-process.js';
import { startRedis, stopRedis } from '../support/redis-server.js';
import { makeMilestonesFinal, openRedisStore } from '../support/redis-store.js';
import { until } from '../support/until.js';
import { ViewersOfPost } from '../support/viewers-of-post.js';

const POST = postIn(0);
const OTHER = postIn(0, 1);
const ACTORS = 1_000;
const WITH_MEMBERS = { limit: 500, withMembers: true };

afterAll(stopRedis);

/** Calls everything that a copy of the counts in another system needs. */
async function copyCounts({ changeStore }: RedisStore): Promise<void> {
  expect(await changeStore.acquireLease('copies')).toBe(true);
  const [page] = await changeStore.changesSince([{ bucket: 0, after: 0 }], WITH_MEMBERS);
  const { posts } = await changeStore.readAll(new Set([0]), '', 500);
  expect((await changeStore.readMembers([POST], '', ACTORS)).members).toHaveLength(ACTORS);
  expect(await changeStore.checkMembers([POST], false)).toEqual([]);
  await changeStore.savePositions('copy', new Map([[0, { ...page!.starts[0]!, ...page! }]]));
  expect((await changeStore.readPositions('copy')).get(0)).toMatchObject({ upTo: page!.upTo });
  expect([posts.length, await changeStore.isRecording()]).toEqual([1, true]);
}

/** Calls everything about milestones; a viewer gets the news. */
async function reachMilestone(store: RedisStore, other: RedisStore, admin: Redis): Promise<void> {
  const news: MilestoneNews[] = [];
  store.milestones.reached.subscribe((more) => news.push(...more));
  store.watch(OTHER);
  await store.read([OTHER], null);
  for (const n of [1, 2]) expect(await store.milestones.arm(OTHER, VIEWS, n)).toMatchObject({ kind: 'armed' });
  expect(await store.milestones.disarm(OTHER, VIEWS, 2)).toBe(true);
  await other.commit(new Producer('prod-three').batch(0, [view(OTHER)]));
  await until(() => news.length > 0, 'the milestone is published');
  expect(await other.milestones.read(OTHER, VIEWS)).toMatchObject({ armed: [], reached: [{ n: 1, v: 3 }] });
  await copyMilestones(store, admin);
}

/** Calls everything about milestones that a copy needs, and a restore. */
async function copyMilestones({ changeStore }: RedisStore, admin: Redis): Promise<void> {
  const collect = async (after: number): Promise<ChangePage> =>
    (await changeStore.changesSince([{ bucket: 0, after }], WITH_MEMBERS))[0]!;
  const { upTo } = await collect(0);
  await makeMilestonesFinal([admin]);
  await collect(upTo);
  expect((await collect(upTo)).milestones).toMatchObject([{ post: OTHER, n: 1 }]);
  const { milestones } = await changeStore.readAll(new Set([0]), '', 500);
  await changeStore.restoreMilestones(milestones.map((one) => ({ ...one, n: 7 })));
  expect((await changeStore.readAll(new Set([0]), '', 500)).milestones).toMatchObject([{ n: 1 }, { n: 7 }]);
}

test('the user of docs/deploy.md has all rights that a store needs', async () => {
  const server = await startRedis();
  const admin = server.client();
  const [, rights] = /^ACL SETUSER (.+)$/m.exec(readFileSync(`${ROOT}/docs/deploy.md`, 'utf8'))!;
  await admin.call('ACL', 'SETUSER', ...rights!.split(' '));
  const url = server.url.replace('redis://', 'redis://tallycast:secret@');
  const [store, other] = await Promise.all(
    [0, 1].map(() => openRedisStore(url, { metrics: METRICS, buckets: BUCKETS })),
  );
  const published = new PublishedCounts(store!);

  store!.watch(POST);
  await store!.read([POST], key(1));
  const withSessions = Array.from({ length: ACTORS }, (_, i) => like(POST, key(i), { session: key(i), seq: 1 }));
  await other!.commit(new Producer('prod-one').batch(0, [...withSessions, view(POST)]));
  await published.waitFor(POST, 1);
  other!.reportViewers(new Map([[POST, new ViewersOfPost().change(2, [toKeyText(key(1))])]]));
  await until(() => published.latest(POST)?.live === 3, 'the viewers are published');
  await copyCounts(store!);
  await other!.commit(new Producer('prod-two').batch(0, [like(OTHER, key(1))]));
  const [changes] = await store!.changeStore.changesSince([{ bucket: 0, after: 1 }], WITH_MEMBERS);
  expect([changes!.posts.length, changes!.members.length]).toEqual([1, 1]);
  await admin.sadd(`tc:{0}:members:0:${OTHER}:0`, '77');
  expect(await store!.changeStore.checkMembers([OTHER], true)).toMatchObject([{ counted: 1, members: 2 }]);
  await store!.changeStore.stopRecording();
  await reachMilestone(store!, other!, admin);
  await Promise.all([store!.close(), other!.close()]);

  expect(published.latest(POST)).toMatchObject({ v: 1, totals: [ACTORS, 1, 0, 0], live: 3 });
  expect(await readAclLog(admin)).toEqual([]);
});

/** @returns the commands that Redis rejected for lack of rights */
async function readAclLog(admin: Redis): Promise<unknown> {
  return admin.call('ACL', 'LOG');
}

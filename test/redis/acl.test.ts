import { readFileSync } from 'node:fs';
import { afterAll, expect, test } from '@jest/globals';
import type { Redis } from 'ioredis';
import { PublishedCounts } from '../contract/published-counts.js';
import { BUCKETS, key, Producer, like, METRICS, postIn, view } from '../contract/operations.js';
import { ROOT } from '../support/gateway-process.js';
import { startRedis, stopRedis } from '../support/redis-server.js';
import { openRedisStore } from '../support/redis-store.js';
import { until } from '../support/until.js';

const POST = postIn(0);
const ACTORS = 1_000;

afterAll(stopRedis);

test('the user of docs/deploy.md may do all that a store does', async () => {
  const server = await startRedis();
  const admin = server.client();
  const [, words] = /^ACL SETUSER (.+)$/m.exec(readFileSync(`${ROOT}/docs/deploy.md`, 'utf8'))!;
  await admin.call('ACL', 'SETUSER', ...words!.split(' '));
  const url = server.url.replace('redis://', 'redis://tallycast:secret@');
  const [store, other] = await Promise.all(
    [0, 1].map(() => openRedisStore(url, { metrics: METRICS, buckets: BUCKETS })),
  );
  const announced = new PublishedCounts(store!);

  store!.watch(POST);
  await store!.read([POST], key(1));
  const marked = Array.from({ length: ACTORS }, (_, i) => like(POST, key(i), { session: key(i), seq: 1 }));
  await other!.commit(new Producer('life-one').batch(0, [...marked, view(POST)]));
  await announced.waitFor(POST, 1);
  other!.reportViewers(new Map([[POST, 3]]));
  await until(() => announced.latest(POST)?.live === 3, 'the viewers were told');
  await Promise.all([store!.close(), other!.close()]);

  expect(announced.latest(POST)).toMatchObject({ v: 1, totals: [ACTORS, 1, 0, 0], live: 3 });
  expect(await refusalsOf(admin)).toEqual([]);
});

/** What users were not permitted. */
async function refusalsOf(admin: Redis): Promise<unknown> {
  return admin.call('ACL', 'LOG');
}

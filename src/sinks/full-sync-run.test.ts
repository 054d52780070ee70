import { expect, test } from '@jest/globals';
import { BUCKETS, METRICS, postIn, Producer, view } from '../../test/contract/operations.js';
import { ReferenceStore } from '../../test/contract/reference-store.js';
import { bucketOf } from '../counters/bucket-of.js';
import { NOT_SYNCED } from '../counters/changed-posts.js';
import type { ChangePage } from '../store/change-store.js';
import { FullSyncRun } from './full-sync-run.js';

const NAMES = Array.from({ length: 3_000 }, (_, i) => `post-${i}`);
const producer = new Producer('producer-one');

/** A store with 501 posts in each of the first two buckets, a run of both, and the buckets of each page that it has read. */
async function openRun(): Promise<{ store: ReferenceStore; run: FullSyncRun; buckets: ReadonlySet<number>[] }> {
  const store = new ReferenceStore(METRICS, BUCKETS, { region: 'eu', epoch: 1, nonce: 1 }, () => 1);
  for (const bucket of [0, 1]) {
    const posts = NAMES.filter((post) => bucketOf(post, BUCKETS) === bucket).slice(0, 501);
    const operations = posts.map((post) => view(post));
    await store.commit(new Producer(`producer-${bucket}`).batch(bucket, operations));
  }
  const buckets: ReadonlySet<number>[] = [];
  const run = new FullSyncRun(
    {
      readAll: (wanted, cursor, limit) => {
        buckets.push(wanted);
        return store.changeStore.readAll(wanted, cursor, limit);
      },
      readMembers: (posts, cursor, limit) => store.changeStore.readMembers(posts, cursor, limit),
    },
    BUCKETS,
    false,
  );
  for (const bucket of [0, 1]) run.add(await readChanges(store, bucket, 0));
  return { store, run, buckets };
}

async function readChanges({ changeStore }: ReferenceStore, bucket: number, after: number): Promise<ChangePage> {
  const [page] = await changeStore.changesSince([{ bucket, after }], { limit: 500, withMembers: false });
  return page!;
}

test('a full sync ends with the first complete changes after the last page of posts', async () => {
  const { store, run } = await openRun();
  const posts = new Set<string>();
  for (let pages = 1; ; pages++) {
    expect(run.accepts).toBe(pages === 1);
    await run.readPage();
    for (const bucket of [0, 1]) {
      const write = run.take(await readChanges(store, bucket, run.upTo(bucket)!));
      for (const { post } of write?.posts ?? []) posts.add(post);
      if (write === null) continue;
      expect(write.endsFullSync).toBe(pages === 3);
      expect([write.position.upTo > NOT_SYNCED, write.sums !== null]).toEqual([pages === 3, pages === 3]);
    }
    if (pages < 3) continue;
    expect(run.isEmpty).toBe(true);
    expect(posts.size).toBe(1_002);
    return;
  }
});

test('a post of a page that has changed meanwhile is written once, in its newest state', async () => {
  const { store, run } = await openRun();
  await run.readPage();
  await store.commit(producer.batch(0, [view(postIn(0), 7)]));
  const { posts } = run.take(await readChanges(store, 0, run.upTo(0)!))!;
  expect(posts).toHaveLength(500);
  expect(posts.filter(({ post }) => post === postIn(0))).toMatchObject([{ v: 2, totals: [0, 8, 0, 0] }]);
});

test('a run whose bucket has another incarnation ends for it, reads the same buckets on, and writes nothing of it', async () => {
  const { store, run, buckets } = await openRun();
  await run.readPage();
  for (const bucket of [0, 1]) run.take(await readChanges(store, bucket, run.upTo(bucket)!));
  store.buckets[0]!.incarnation = { region: 'eu', epoch: 2, nonce: 2 };
  await run.readPage();
  expect(run.take(await readChanges(store, 0, run.upTo(0)!))).toBeNull();
  expect([run.has(0), run.has(1), run.isEmpty]).toEqual([false, true, false]);
  expect(run.take(await readChanges(store, 1, run.upTo(1)!))!.bucket).toBe(1);
  expect(buckets.map((wanted) => [...wanted])).toEqual([
    [0, 1],
    [0, 1],
  ]);
  store.buckets[1]!.incarnation = { region: 'eu', epoch: 2, nonce: 3 };
  await run.readPage();
  expect(run.take(await readChanges(store, 1, run.upTo(1)!))).toBeNull();
  expect(run.isEmpty).toBe(true);
  await run.readPage();
  expect(buckets).toHaveLength(3);
});

test('a post that was created after its place was read is among those with all members when the full sync ends', async () => {
  const store = new ReferenceStore(METRICS, BUCKETS, { region: 'eu', epoch: 1, nonce: 1 });
  await store.commit(producer.batch(1, [view(postIn(1))]));
  const run = new FullSyncRun(store.changeStore, BUCKETS, true);
  run.add(await readChanges(store, 1, 0));
  await run.readPage();
  await store.commit(producer.batch(1, [view(postIn(1, 1))]));
  const write = run.take(await readChanges(store, 1, run.upTo(1)!))!;
  expect(write.endsFullSync).toBe(true);
  expect(write.postsWithAllMembers).toEqual([postIn(1), postIn(1, 1)]);
});

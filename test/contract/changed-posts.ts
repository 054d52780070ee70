import { expect, it } from '@jest/globals';
import { bucketOf } from '../../src/counters/bucket-of.js';
import type { PostCounts } from '../../src/counters/batch.js';
import type { ChangePage } from '../../src/store/change-store.js';
import { BUCKETS, key, like, postIn, Producer, START_MS, unlike, view } from './operations.js';
import { applied, type StoreUnderTest } from './store-under-test.js';

const EVERY_BUCKET = new Set(Array.from({ length: BUCKETS }, (_, bucket) => bucket));

/** Pages of bucket 0 from a seq on, until one is complete. */
async function collect({ store }: StoreUnderTest, after: number, limit = 500): Promise<ChangePage[]> {
  const pages: ChangePage[] = [];
  for (let from = after; ; from = pages.at(-1)!.upTo) {
    const [page] = await store.changeStore.changesSince([{ bucket: 0, after: from }], { limit, withMembers: false });
    pages.push(page!);
    if (page!.isComplete) return pages;
  }
}

/** Starts recording. @returns the position of a copy that has everything so far */
async function startRecording(under: StoreUnderTest): Promise<number> {
  const [page] = await under.store.changeStore.changesSince([{ bucket: 0, after: 0 }], {
    limit: 500,
    withMembers: false,
  });
  return (await collect(under, page!.upTo)).at(-1)!.upTo;
}

function named(pages: readonly ChangePage[]): string[] {
  return pages.flatMap(({ posts }) => posts.map(({ post }) => post)).sort();
}

async function readAll({ store }: StoreUnderTest, buckets = EVERY_BUCKET, limit = 3): Promise<PostCounts[]> {
  const posts = new Map<string, PostCounts>();
  for (let cursor: string | null = ''; cursor !== null;) {
    const page = await store.changeStore.readAll(buckets, cursor, limit);
    for (const counts of page.posts) posts.set(counts.post, counts);
    cursor = page.next;
  }
  return [...posts.values()].sort((a, b) => (a.post < b.post ? -1 : 1));
}

/** Tests of the changes that a store records for copies. */
export function changedPostsTests(under: StoreUnderTest): void {
  recordingTests(under);
  pagingTests(under);
  copyTests(under);
}

function recordingTests(under: StoreUnderTest): void {
  it('nothing is recorded before somebody asks, and after recording was stopped', async () => {
    const { changeStore } = under.store;
    expect(await changeStore.isRecording()).toBe(false);
    await under.apply([view(postIn(0))]);
    const at = await startRecording(under);
    expect(await changeStore.isRecording()).toBe(true);
    expect(named(await collect(under, at))).toEqual([]);
    await changeStore.stopRecording();
    expect(await changeStore.isRecording()).toBe(false);
    await under.apply([view(postIn(0))]);
    const [page] = await changeStore.changesSince([{ bucket: 0, after: at }], { limit: 500, withMembers: false });
    expect(page).toMatchObject({ posts: [], isComplete: false });
    expect(page!.droppedUpTo).toBeGreaterThan(at);
  });

  it('a copy that has never been synced is told that it needs a full sync', async () => {
    const [page] = await under.store.changeStore.changesSince([{ bucket: 0, after: 0 }], {
      limit: 500,
      withMembers: false,
    });
    expect(page!.droppedUpTo).toBe(page!.upTo);
    expect(page).toMatchObject({ bucket: 0, isComplete: false, posts: [] });
  });

  it('a changed post is returned once, in its newest state', async () => {
    const at = await startRecording(under);
    const post = postIn(0);
    await under.apply([view(post), like(post, key(1))]);
    await under.apply([view(post, 4)], 0, START_MS + 5);
    const [page] = await collect(under, at);
    expect(page).toMatchObject({ isComplete: true, changedAtMs: START_MS + 5, sums: [1, 5, 0, 0] });
    expect(page!.posts).toEqual([{ ...(await under.view(post)).counts, live: 0 }]);
    expect(named(await collect(under, page!.upTo))).toEqual([]);
    // A copy that is behind gets it again.
    expect(named(await collect(under, at))).toEqual([post]);
  });

  it('what changes nothing is not recorded', async () => {
    const at = await startRecording(under);
    const post = postIn(0);
    await under.apply([unlike(post, key(1))]);
    expect(await collect(under, at)).toMatchObject([{ posts: [], sums: [0, 0, 0, 0], upTo: at }]);
  });

  it('sums follow totals that fall', async () => {
    const at = await startRecording(under);
    const post = postIn(0);
    await under.apply([like(post, key(1)), like(post, key(2))]);
    await under.apply([unlike(post, key(1))]);
    expect((await collect(under, at)).at(-1)!.sums).toEqual([1, 0, 0, 0]);
  });
}

function pagingTests(under: StoreUnderTest): void {
  it('pages hold about as many posts as asked for, oldest change first', async () => {
    const at = await startRecording(under);
    let upTo = at;
    for (let i = 0; i < 4; i++) {
      await under.apply([view(postIn(0, 2 * i)), view(postIn(0, 2 * i + 1))]);
      upTo = (await collect(under, upTo)).at(-1)!.upTo;
    }
    await under.apply([view(postIn(0, 0))]);
    const pages = await collect(under, at, 2);
    expect(pages.slice(0, -1).every(({ isComplete, posts }) => !isComplete && posts.length >= 1)).toBe(true);
    expect(named(pages)).toEqual(Array.from({ length: 8 }, (_, i) => postIn(0, i)).sort());
    expect(named(pages.slice(-1))).toContain(postIn(0, 0));
    expect(named(pages.slice(0, 1))).not.toContain(postIn(0, 0));
  });

  it('a copy that is too far behind needs a full sync, and a copy that is not gets its changes', async () => {
    const at = await startRecording(under);
    const numbered = Array.from({ length: 22_000 }, (_, i) => `post-${i}`);
    const posts = numbered.filter((post) => bucketOf(post, BUCKETS) === 0).slice(0, 5_200);
    for (let i = 0; i < posts.length; i += 400) await under.apply(posts.slice(i, i + 400).map((post) => view(post)));
    const [page] = await under.store.changeStore.changesSince([{ bucket: 0, after: at }], {
      limit: 500,
      withMembers: false,
    });
    expect(page!.droppedUpTo).toBeGreaterThan(at);
    expect(page).toMatchObject({ posts: [], upTo: page!.droppedUpTo, isComplete: false });
    const pages = await collect(under, page!.droppedUpTo);
    // Whole seqs of at most 500 posts besides the 4,096 that are kept at least.
    expect(named(pages).length).toBeGreaterThan(3_000);
    expect(named(pages).length).toBeLessThanOrEqual(4_596);
    expect(Math.max(...pages.map((one) => one.posts.length))).toBeLessThanOrEqual(1_000);
    expect(pages.at(-1)!.sums).toEqual([0, posts.length, 0, 0]);
  });

  it('all posts are read page by page', async () => {
    const posts = Array.from({ length: 40 }, (_, i) => postIn(i % BUCKETS, Math.floor(i / BUCKETS)));
    for (const [i, post] of posts.entries()) await under.apply([view(post, i + 1)], i % BUCKETS);
    const expected = await Promise.all([...posts].sort().map(async (post) => (await under.view(post)).counts));
    expect(await readAll(under)).toEqual(expected);
    const ofOne = (await readAll(under, new Set([2]))).map(({ post }) => post);
    expect(ofOne).toEqual(posts.filter((_, i) => i % BUCKETS === 2).sort());
  });
}

function copyTests(under: StoreUnderTest): void {
  it('positions of copies are kept apart', async () => {
    const { changeStore } = under.store;
    const position = { epoch: 3, nonce: 4_294_967_295, upTo: 2 ** 52, changedAtMs: START_MS };
    await changeStore.savePositions('one', new Map([[0, position]]));
    await changeStore.savePositions('two', new Map([[0, { ...position, upTo: 7 }]]));
    await changeStore.savePositions('one', new Map([[1, { ...position, epoch: 4 }]]));
    expect(await changeStore.readPositions('one')).toEqual(
      new Map([
        [0, position],
        [1, { ...position, epoch: 4 }],
      ]),
    );
    expect(await changeStore.readPositions('two')).toEqual(new Map([[0, { ...position, upTo: 7 }]]));
    expect(await changeStore.readPositions('three')).toEqual(new Map());
  });

  it('one gateway at a time has the lease of a duty', async () => {
    expect(await under.store.changeStore.acquireLease('sinks')).toBe(true);
    expect(await under.store.changeStore.acquireLease('sinks')).toBe(true);
  });

  it('a reopened store goes on recording, with nothing lost unnoticed', async () => {
    const at = await startRecording(under);
    await under.apply([view(postIn(0, 0))]);
    const [before] = await collect(under, at);
    const reopened = await under.reopen();
    expect(await reopened.changeStore.isRecording()).toBe(true);
    const [synced] = await reopened.changeStore.changesSince([{ bucket: 0, after: before!.upTo }], {
      limit: 500,
      withMembers: false,
    });
    // The copy had everything: no full sync.
    expect(synced).toMatchObject({ posts: [], isComplete: true, sums: [0, 1, 0, 0] });
    await applied(reopened, new Producer('prod-two').batch(0, [view(postIn(0, 1))]));
    const again = await under.reopen();
    const [page] = await again.changeStore.changesSince([{ bucket: 0, after: synced!.upTo }], {
      limit: 500,
      withMembers: false,
    });
    const needsFullSync = page!.droppedUpTo > synced!.upTo;
    expect(needsFullSync || named([page!]).includes(postIn(0, 1))).toBe(true);
  });
}

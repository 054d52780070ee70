import { expect, it } from '@jest/globals';
import { APPLIED, DUPLICATE, ON } from '../../src/counters/operation.js';
import { PublishedCounts } from './published-counts.js';
import { adjust, key, Producer, like, postIn, START_MS, unlike, view } from './operations.js';
import { applied, type StoreUnderTest } from './store-under-test.js';

const [POST, OTHER] = [postIn(0), postIn(0, 1)];
const ELSEWHERE = postIn(1);
const ANN = key(1);

/** Resolves when the view of the post was read or announced. */
async function watchDuringCommit(
  { store }: StoreUnderTest,
  life: Producer,
  post: string,
  turns: number,
): Promise<void> {
  const announced = new PublishedCounts(store);
  const committed = store.commit(life.batch(0, [view(post)]));
  for (let turn = 0; turn < turns; turn++) await Promise.resolve();
  store.watch(post);
  const [read] = await store.read([post], null);
  await committed;
  if (read!.counts.v === 0) await announced.waitFor(post, 1);
}

export function publishingTests(under: StoreUnderTest): void {
  it('the counts of a watched post are announced', async () => {
    const announced = new PublishedCounts(under.store);
    under.store.watch(POST);
    const { changed } = await under.apply([view(POST, 3), like(POST, ANN)]);
    await announced.waitFor(POST, 1);
    expect(announced.latest(POST)).toEqual(changed[0]);
  });

  it('a post that is watched while a change to it is committed is read with the change, or announced', async () => {
    const life = new Producer('life-two');
    for (let turns = 0; turns < 20; turns++) await watchDuringCommit(under, life, postIn(0, turns), turns);
  });

  it('after many changes the last is announced', async () => {
    const announced = new PublishedCounts(under.store);
    under.store.watch(POST);
    const lives = [new Producer('life-two'), new Producer('life-six')];
    for (let i = 0; i < 20; i++) {
      await Promise.all(lives.map((life) => under.store.commit(life.batch(0, [view(POST)]))));
    }
    await announced.waitFor(POST, 40);
    expect(announced.latest(POST)?.totals).toEqual([0, 40, 0, 0]);
  });

  it('posts that nobody watches are not announced', async () => {
    const announced = new PublishedCounts(under.store);
    under.store.watch(POST);
    await under.apply([view(OTHER), view(POST)]);
    await under.apply([view(ELSEWHERE)], 1);
    await under.apply([view(POST)]);
    await announced.waitFor(POST, 2);
    expect(announced.posts).toEqual([POST]);
  });

  it('a post is announced until it is no longer watched', async () => {
    const announced = new PublishedCounts(under.store);
    under.store.watch(POST);
    under.store.watch(OTHER);
    await under.apply([view(OTHER)]);
    await announced.waitFor(OTHER, 1);
    under.store.unwatch(OTHER);
    await under.apply([view(OTHER), view(POST)]);
    await announced.waitFor(POST, 1);
    expect(announced.latest(OTHER)?.v).toBe(1);
  });

  it('what changed nothing is no new version', async () => {
    const announced = new PublishedCounts(under.store);
    under.store.watch(POST);
    const batch = { bucket: 0, producerId: 'life-two', batchNumber: 1, atMs: START_MS, operations: [view(POST)] };
    await under.store.commit(batch);
    await under.store.commit(batch);
    await under.store.commit({ ...batch, batchNumber: 3 });
    await under.apply([unlike(POST, ANN)]);
    await announced.waitFor(POST, 1);
    expect(announced.latest(POST)).toMatchObject({ v: 1, totals: [0, 1, 0, 0] });
  });
}

export function reopenTests(under: StoreUnderTest): void {
  it('counts, toggles and marks are still there', async () => {
    const mark = { session: key(100), seq: 1 };
    await under.apply([view(POST, 5, mark), like(POST, ANN), adjust(POST, 1)]);
    await under.apply(Array.from({ length: 200 }, (_, i) => like(OTHER, key(i))));
    const before = await under.store.read([POST, OTHER], ANN);

    const store = await under.reopen();
    expect(await store.read([POST, OTHER], ANN)).toEqual(before);
    const next = new Producer('life-two');
    const { outcomes } = await applied(store, next.batch(0, [view(POST, 5, mark), like(OTHER, key(150)), view(POST)]));
    expect([...outcomes]).toEqual([DUPLICATE, ON, APPLIED]);
    const [after] = await store.read([POST], null);
    expect(after!.counts).toMatchObject({ v: before[0]!.counts.v + 1, e: before[0]!.counts.e, totals: [2, 6, 0, 0] });
  });

  it('changes are announced as before', async () => {
    await under.apply([view(POST)]);
    const store = await under.reopen();
    const announced = new PublishedCounts(store);
    store.watch(POST);
    await store.commit(new Producer('life-two').batch(0, [view(POST)]));
    await announced.waitFor(POST, 2);
    expect(announced.latest(POST)?.totals).toEqual([0, 2, 0, 0]);
  });
}

import { expect, it } from '@jest/globals';
import { APPLIED, DUPLICATE, ON } from '../../src/counters/operation.js';
import { PublishedCounts } from './published-counts.js';
import { adjust, key, Producer, like, postIn, START_MS, unlike, view } from './operations.js';
import { applied, type StoreUnderTest } from './store-under-test.js';

const [POST, OTHER] = [postIn(0), postIn(0, 1)];
const ELSEWHERE = postIn(1);
const ANN = key(1);

/** Resolves when the view of the post was read or published. */
async function watchDuringCommit(
  { store }: StoreUnderTest,
  producer: Producer,
  post: string,
  turns: number,
): Promise<void> {
  const published = new PublishedCounts(store);
  const committed = store.commit(producer.batch(0, [view(post)]));
  for (let turn = 0; turn < turns; turn++) await Promise.resolve();
  store.watch(post);
  const [read] = await store.read([post], null);
  await committed;
  if (read!.counts.v === 0) await published.waitFor(post, 1);
}

export function publishingTests(under: StoreUnderTest): void {
  it('changes of a watched post are published', async () => {
    const published = new PublishedCounts(under.store);
    under.store.watch(POST);
    const { changed } = await under.apply([view(POST, 3), like(POST, ANN)]);
    await published.waitFor(POST, 1);
    expect(published.latest(POST)).toEqual(changed[0]);
  });

  it('a change that is committed while its post begins to be watched is read or published', async () => {
    const producer = new Producer('prod-two');
    for (let turns = 0; turns < 20; turns++) await watchDuringCommit(under, producer, postIn(0, turns), turns);
  });

  it('the last of many changes is published', async () => {
    const published = new PublishedCounts(under.store);
    under.store.watch(POST);
    const producers = [new Producer('prod-two'), new Producer('prod-six')];
    for (let i = 0; i < 20; i++) {
      await Promise.all(producers.map((producer) => under.store.commit(producer.batch(0, [view(POST)]))));
    }
    await published.waitFor(POST, 40);
    expect(published.latest(POST)?.totals).toEqual([0, 40, 0, 0]);
  });

  it('changes of posts without viewers are not published', async () => {
    const published = new PublishedCounts(under.store);
    under.store.watch(POST);
    await under.apply([view(OTHER), view(POST)]);
    await under.apply([view(ELSEWHERE)], 1);
    await under.apply([view(POST)]);
    await published.waitFor(POST, 2);
    expect(published.posts).toEqual([POST]);
  });

  it('changes of a post are published until it is no longer watched', async () => {
    const published = new PublishedCounts(under.store);
    under.store.watch(POST);
    under.store.watch(OTHER);
    await under.apply([view(OTHER)]);
    await published.waitFor(OTHER, 1);
    under.store.unwatch(OTHER);
    await under.apply([view(OTHER), view(POST)]);
    await published.waitFor(POST, 1);
    expect(published.latest(OTHER)?.v).toBe(1);
  });

  it('a batch without effect makes no new version', async () => {
    const published = new PublishedCounts(under.store);
    under.store.watch(POST);
    const batch = { bucket: 0, producerId: 'prod-two', batchNumber: 1, atMs: START_MS, operations: [view(POST)] };
    await under.store.commit(batch);
    await under.store.commit(batch);
    await under.store.commit({ ...batch, batchNumber: 3 });
    await under.apply([unlike(POST, ANN)]);
    await published.waitFor(POST, 1);
    expect(published.latest(POST)).toMatchObject({ v: 1, totals: [0, 1, 0, 0] });
  });
}

export function reopenTests(under: StoreUnderTest): void {
  it('a reopened store has its counts, toggles and last seqs', async () => {
    const mark = { session: key(100), seq: 1 };
    await under.apply([view(POST, 5, mark), like(POST, ANN), adjust(POST, 1)]);
    await under.apply(Array.from({ length: 200 }, (_, i) => like(OTHER, key(i))));
    const before = await under.store.read([POST, OTHER], ANN);

    const store = await under.reopen();
    expect(await store.read([POST, OTHER], ANN)).toEqual(before);
    const next = new Producer('prod-two');
    const { outcomes } = await applied(store, next.batch(0, [view(POST, 5, mark), like(OTHER, key(150)), view(POST)]));
    expect([...outcomes]).toEqual([DUPLICATE, ON, APPLIED]);
    const [after] = await store.read([POST], null);
    expect(after!.counts).toMatchObject({ v: before[0]!.counts.v + 1, e: before[0]!.counts.e, totals: [2, 6, 0, 0] });
  });

  it('a reopened store publishes changes', async () => {
    await under.apply([view(POST)]);
    const store = await under.reopen();
    const published = new PublishedCounts(store);
    store.watch(POST);
    await store.commit(new Producer('prod-two').batch(0, [view(POST)]));
    await published.waitFor(POST, 2);
    expect(published.latest(POST)?.totals).toEqual([0, 2, 0, 0]);
  });
}

import { expect, it } from '@jest/globals';
import { MARK_GENERATION_MAX } from '../../src/counters/bucket.js';
import { bucketOf } from '../../src/counters/bucket-of.js';
import { LIKES, VIEWS } from '../../src/counters/metrics.js';
import { APPLIED, DUPLICATE, ON } from '../../src/counters/operation.js';
import { adjust, BUCKETS, key, Producer, like, postIn, save, SAVES, START_MS, unlike, view } from './operations.js';
import type { StoreUnderTest } from './store-under-test.js';

const [POST, OTHER] = [postIn(0), postIn(0, 1)];
const ELSEWHERE = postIn(1);
const ANN = key(1);
const BOB = key(2);
const MARKS_A_BATCH = 8_192;

export function readingTests(under: StoreUnderTest): void {
  it('an unknown post is zeros at version 0', async () => {
    const { counts, on } = await under.view(POST, ANN);
    expect(counts).toMatchObject({ post: POST, v: 0, updatedAtMs: null, totals: [0, 0, 0, 0] });
    expect(on).toBe(0);
  });

  it('posts are read in the requested order, and as often', async () => {
    await under.apply([view(OTHER)]);
    const views = await under.store.read([OTHER, ELSEWHERE, POST, OTHER], null);
    expect(views.map(({ counts }) => [counts.post, counts.v])).toEqual([
      [OTHER, 1],
      [ELSEWHERE, 0],
      [POST, 0],
      [OTHER, 1],
    ]);
  });

  it('reading no posts returns nothing', async () => {
    expect(await under.store.read([], ANN)).toEqual([]);
  });

  it('a read has every commit that has resolved', async () => {
    for (let n = 1; n <= 50; n++) {
      await under.apply([view(POST)]);
      expect((await under.view(POST)).counts).toMatchObject({ v: n, totals: [0, n, 0, 0] });
    }
  });

  it('a read returns the counts that the commit returned', async () => {
    const { counts, changed } = await under.apply([view(POST, 7), like(POST, ANN), adjust(POST, 1)]);
    const read = (await under.view(POST)).counts;
    expect(read).toMatchObject({ v: 1, updatedAtMs: START_MS, totals: [2, 7, 0, 0] });
    expect(counts.get(POST)).toEqual(read);
    expect(changed).toEqual([read]);
  });

  it('an actor sees only its own toggles', async () => {
    await under.apply([like(POST, ANN), save(POST, ANN), save(POST, BOB), like(OTHER, BOB)]);
    expect((await under.view(POST, ANN)).on).toBe((1 << LIKES) | (1 << SAVES));
    expect((await under.view(POST, BOB)).on).toBe(1 << SAVES);
    expect((await under.view(POST, key(3))).on).toBe(0);
    expect((await under.view(POST, null)).on).toBe(0);
  });

  it('a post id may be a name in JavaScript or have the full length', async () => {
    const posts = ['__proto__', 'constructor', 'x'.repeat(64), 'A-z_0.9:'];
    for (const post of posts) await under.apply([view(post), like(post, ANN)], bucketOf(post, BUCKETS));
    const views = await under.store.read(posts, ANN);
    expect(views.map(({ counts, on }) => [counts.v, on])).toEqual(posts.map(() => [1, 1]));
  });
}

export function operationTests(under: StoreUnderTest): void {
  it('a second like by the same actor changes nothing', async () => {
    expect([...(await under.apply([like(POST, ANN)])).outcomes]).toEqual([APPLIED | ON]);
    const again = await under.apply([like(POST, ANN)]);
    expect([...again.outcomes]).toEqual([ON]);
    expect(again.changed).toEqual([]);
    expect(again.counts.get(POST)).toMatchObject({ v: 1, totals: [1, 0, 0, 0] });
  });

  it('a like that is taken back can be given again', async () => {
    const { outcomes } = await under.apply([like(POST, ANN), unlike(POST, ANN), unlike(POST, ANN), like(POST, ANN)]);
    expect([...outcomes]).toEqual([APPLIED | ON, APPLIED, 0, APPLIED | ON]);
    expect(await under.view(POST, ANN)).toMatchObject({ counts: { totals: [1, 0, 0, 0] }, on: 1 });
  });

  it('anonymous likes never fall below zero and take no like of an actor away', async () => {
    const { outcomes } = await under.apply([like(POST, ANN), adjust(POST, -1), adjust(POST, 1), adjust(POST, -1)]);
    expect([...outcomes]).toEqual([APPLIED | ON, 0, APPLIED, APPLIED]);
    expect((await under.view(POST)).counts.totals[LIKES]).toBe(1);
  });

  it('a batch raises the version of each post that it changed by one', async () => {
    await under.apply([view(POST), view(POST), view(OTHER), view(POST)]);
    const { changed, counts } = await under.apply([view(POST), unlike(OTHER, ANN)]);
    expect(changed.map(({ post, v }) => [post, v])).toEqual([[POST, 2]]);
    expect(counts.get(OTHER)).toMatchObject({ v: 1 });
  });

  it('the time of a change never goes back', async () => {
    await under.apply([view(POST)], 0, START_MS + 5);
    await under.apply([view(POST)], 0, START_MS);
    expect((await under.view(POST)).counts).toMatchObject({ v: 2, updatedAtMs: START_MS + 5 });
  });

  it('an operation without effect leaves an unknown post unknown', async () => {
    const { counts } = await under.apply([unlike(POST, ANN), adjust(POST, -1)]);
    expect(counts.get(POST)).toMatchObject({ v: 0, updatedAtMs: null });
    expect((await under.view(POST)).counts).toMatchObject({ v: 0, updatedAtMs: null });
  });

  it('an empty batch is applied', async () => {
    const { outcomes, counts, changed } = await under.apply([]);
    expect([outcomes.length, counts.size, changed.length]).toEqual([0, 0, 0]);
  });
}

export function amountTests(under: StoreUnderTest): void {
  it('batches of all buckets at once are all applied', async () => {
    const producers = Array.from({ length: 8 }, (_, i) => new Producer(`prod-00${i}`));
    const batches = producers.flatMap((producer, i) =>
      Array.from({ length: BUCKETS }, (_, b) => producer.batch(b, [view(postIn(b)), like(postIn(b), key(i))])),
    );
    const results = await Promise.all(batches.map((batch) => under.store.commit(batch)));
    expect(results.every(({ kind }) => kind === 'applied')).toBe(true);
    for (let bucket = 0; bucket < BUCKETS; bucket++) {
      expect((await under.view(postIn(bucket))).counts).toMatchObject({ v: 8, totals: [8, 8, 0, 0] });
    }
    expect(under.store.available).toBe(true);
  });

  it('a reader sees either all or nothing of a batch', async () => {
    const producers = Array.from({ length: 30 }, (_, i) => new Producer(`prod-0${10 + i}`));
    const batches = producers.map((producer, i) => producer.batch(0, [view(POST), like(POST, key(i))]));
    const commits = batches.map((batch) => under.store.commit(batch));
    for (let seen = 0; seen < producers.length;) {
      const { v, totals } = (await under.view(POST)).counts;
      expect(totals).toEqual([v, v, 0, 0]);
      seen = v;
      await new Promise((resolve) => setImmediate(resolve));
    }
    await Promise.all(commits);
  });

  it('a post has the toggle of each of thousands of actors', async () => {
    const actors = Array.from({ length: 3_000 }, (_, i) => key(i));
    const extremes = [key(0), { hi: 0xffffffff, lo: 0xffffffff }, { hi: 0, lo: 0xffffffff }, { hi: 0xffffffff, lo: 0 }];
    await under.apply([...actors, ...extremes].map((actor) => like(POST, actor)));
    await under.apply(actors.filter((_, i) => i % 3 === 1).map((actor) => unlike(POST, actor)));
    expect((await under.view(POST)).counts.totals[LIKES]).toBe(2_003);
    for (const [i, actor] of actors.slice(0, 300).entries()) {
      expect((await under.view(POST, actor)).on).toBe(i % 3 === 1 ? 0 : 1);
    }
    for (const actor of extremes) expect((await under.view(POST, actor)).on).toBe(1);
    expect((await under.view(POST, key(5_000))).on).toBe(0);
  });

  it('a batch may hold thousands of posts', async () => {
    const posts = Array.from({ length: 8_000 }, (_, i) => `wide-${i}`).filter((post) => bucketOf(post, BUCKETS) === 0);
    const { counts, changed } = await under.apply(posts.flatMap((post) => [view(post), like(post, ANN)]));
    expect([counts.size, changed.length]).toEqual([posts.length, posts.length]);
    const views = await under.store.read(posts, ANN);
    expect(views.every(({ counts: { totals }, on }) => totals[VIEWS] === 1 && on === 1)).toBe(true);
  });

  it(`a last seq is forgotten two generations later, which may end at ${MARK_GENERATION_MAX} sessions`, async () => {
    const oldest = view(POST, 1, { session: key(0), seq: 1 });
    let sessions = 1;
    const fill = async (): Promise<void> => {
      for (const end = sessions + MARK_GENERATION_MAX; sessions < end; sessions += MARKS_A_BATCH) {
        const marks = Array.from({ length: MARKS_A_BATCH }, (_, i) => ({ session: key(sessions + i), seq: 1 }));
        await under.apply(marks.map((mark) => view(OTHER, 1, mark)));
      }
    };
    await under.apply([oldest]);
    await fill();
    expect([...(await under.apply([oldest])).outcomes]).toEqual([DUPLICATE]);
    await fill();
    expect([...(await under.apply([oldest])).outcomes]).toEqual([APPLIED]);
  });
}

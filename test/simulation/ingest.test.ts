import { describe, expect, test } from '@jest/globals';
import { bucketOf } from '../../src/counters/bucket-of.js';
import { APPLIED, DUPLICATE } from '../../src/counters/operation.js';
import { GOOD, LOSES_ANSWER, REFUSES } from './faulty-store.js';
import { FLUSH_MS, IngestWorld, view } from './ingest-world.js';

const BATCH_MAX = 500;
const GATHERED_MAX = 512;
const PENDING_MAX = 50_000;
const DEADLINE_MS = 5_000;
const DEADLINE_CHECK_MS = 250;
const SESSION = { hi: 1, lo: 2 };

describe('batches', () => {
  test('an operation waits FLUSH_MS and is committed with those that joined it', async () => {
    const world = new IngestWorld();
    world.submit(view('a'));
    await world.clock.advance(FLUSH_MS - 1);
    world.submit(view('a'));
    expect(world.store.sent).toEqual([]);
    await world.clock.advance(1);
    expect(world.store.sent.map(({ batch, atMs }) => [batch.operations.length, atMs])).toEqual([[2, FLUSH_MS]]);
  });

  test('a full batch is committed at once', async () => {
    const world = new IngestWorld();
    world.submitMany(BATCH_MAX);
    expect(world.batchSizes).toEqual([BATCH_MAX]);
    await world.clock.advance(1);
    expect(world.ingest.pending).toBe(0);
  });

  test('512 operations, over all buckets, do not wait for FLUSH_MS', () => {
    const world = new IngestWorld({ buckets: 2 });
    const [here, there] = postsOf(2);
    world.submitMany(300, here);
    world.submitMany(GATHERED_MAX - 301, there);
    expect(world.batchSizes).toEqual([]);
    world.submit(view(there));
    expect(world.batchSizes).toEqual([300, GATHERED_MAX - 300]);
  });

  test('operations that arrive while a batch is in flight wait for it, and no batch is larger than 500', async () => {
    const world = new IngestWorld();
    world.submitMany(3 * BATCH_MAX + 7);
    expect(world.batchSizes).toEqual([BATCH_MAX]);
    await world.clock.advance(2 * FLUSH_MS);
    expect(world.batchSizes).toEqual([BATCH_MAX, BATCH_MAX, BATCH_MAX, 7]);
    expect(world.store.misuses).toEqual([]);
    expect(await world.totals('a')).toEqual({ likes: 0, views: 3 * BATCH_MAX + 7 });
  });

  test('no operation waits longer than FLUSH_MS, unless a batch of its bucket is in flight', async () => {
    const world = new IngestWorld({ buckets: 2 });
    const [here, there] = postsOf(2);
    world.store.conduct = () => ({ appliesAfterMs: 2, endsAfterMs: 2, answers: true });
    // In flight from 10 to 12; the next comes at 10, and the other bucket's first at 11.
    world.submit(view(here));
    await world.clock.advance(FLUSH_MS);
    world.submit(view(here));
    await world.clock.advance(1);
    world.submit(view(there));
    await world.clock.advance(FLUSH_MS);
    expect(world.store.sent.map(({ atMs }) => atMs)).toEqual([FLUSH_MS, 2 * FLUSH_MS, 2 * FLUSH_MS]);
  });

  test('a timer that an earlier one replaced sends nothing', async () => {
    const world = new IngestWorld({ buckets: 2 });
    const [here, there] = postsOf(2);
    const quick = { appliesAfterMs: 0.5, endsAfterMs: 0.5, answers: true };
    world.store.conduct = () => (world.store.sent.length === 1 ? { ...quick, endsAfterMs: 2 } : quick);
    world.submit(view(here));
    await world.clock.advance(FLUSH_MS);
    world.submit(view(here));
    await world.clock.advance(1);
    // Sets the timer to 21; when the first batch ends at 12, it is set to 20 instead.
    world.submit(view(there));
    await world.clock.advance(FLUSH_MS - 0.25);
    world.submit(view(there));
    await world.clock.advance(2 * FLUSH_MS);
    expect(world.store.sent.map(({ atMs }) => atMs)).toEqual([10, 20, 20, 30.75]);
  });

  test('batches of different buckets are committed concurrently', async () => {
    const world = new IngestWorld({ buckets: 2 });
    world.store.conduct = ({ bucket }) => ({ appliesAfterMs: 1, endsAfterMs: bucket === 0 ? 1_000 : 1, answers: true });
    const [slow, fast] = postsOf(2);
    const attempts = [world.submit(view(slow)), world.submit(view(fast))];
    await world.clock.advance(2_000);
    expect(attempts.map(({ answeredAtMs }) => answeredAtMs)).toEqual([FLUSH_MS + 1_000, FLUSH_MS + 1]);
  });

  test('an acknowledgement has the outcome and the counts after the batch', async () => {
    const world = new IngestWorld();
    const [first, again] = [world.submit(view('a', SESSION, 1)), world.submit(view('a', SESSION, 1))];
    await world.clock.advance(2 * FLUSH_MS);
    expect([first.outcome, again.outcome]).toEqual([APPLIED, DUPLICATE]);
    expect(first.counts).toMatchObject({ post: 'a', v: 1, totals: [0, 1] });
  });

  test('latencies of each batch and of its longest-waiting operation are observed in seconds', async () => {
    const world = new IngestWorld();
    world.submit(view('a'));
    await world.clock.advance(5);
    world.submit(view('a'));
    await world.clock.advance(FLUSH_MS);
    expect(world.latencies).toEqual({ commit: [0.001], acknowledgement: [0.011] });
  });

  test('operations that are submitted while others are acknowledged join later batches', async () => {
    const world = new IngestWorld();
    let left = 3 * BATCH_MAX;
    const more = (): void => {
      for (let i = 0; i < 3 && left > 0; i++, left--) world.submit(view('a'), more);
    };
    for (let i = 0; i < BATCH_MAX; i++) world.submit(view('a'), more);
    await world.clock.advance(100);
    expect(world.store.misuses).toEqual([]);
    expect([world.ingest.pending, await world.totals('a')]).toEqual([0, { likes: 0, views: 4 * BATCH_MAX }]);
  });

  test('no timer runs while no operation is pending', async () => {
    const world = new IngestWorld();
    world.submitMany(3);
    await world.clock.advance(1_000);
    expect(world.clock.timers).toBe(0);
  });
});

describe('a store that does not take a batch', () => {
  test('the same batch is sent again until it is committed, less and less often', async () => {
    const world = new IngestWorld({ conduct: () => REFUSES });
    const attempt = world.submit(view('a'));
    await world.clock.advance(4_000);
    const times = world.store.sent.map(({ atMs }) => atMs);
    expect(times.length).toBeGreaterThan(5);
    expect(times.at(-1)! - times.at(-2)!).toBeGreaterThan(500);
    expect(new Set(world.store.sent.map(({ batch }) => batch)).size).toBe(1);
    expect(world.ingest.stats.retries).toBe(times.length);
    world.store.conduct = () => GOOD;
    await world.clock.advance(1_002);
    expect(attempt.answers).toEqual(['settled']);
  });

  test('a batch that the store rejects as not the next does not count as committed', async () => {
    const world = new IngestWorld();
    const commit = world.inner.commit.bind(world.inner);
    let gaps = 2;
    world.inner.commit = (batch) => (gaps-- > 0 ? Promise.resolve({ kind: 'gap', last: 0 }) : commit(batch));
    const attempt = world.submit(view('a'));
    await world.clock.advance(FLUSH_MS + 2);
    expect(attempt.answers).toEqual([]);
    await world.clock.advance(1_000);
    expect([attempt.answers, world.ingest.stats.retries]).toEqual([['settled'], 2]);
  });

  test('a batch whose result was lost is counted once', async () => {
    const world = new IngestWorld({ conduct: () => LOSES_ANSWER });
    const attempts = world.submitMany(20);
    await world.clock.advance(1_000);
    world.store.conduct = () => GOOD;
    await world.clock.advance(2_000);
    expect(attempts.every(({ answers, outcome }) => answers.join() === 'settled' && outcome === APPLIED)).toBe(true);
    expect(await world.totals('a')).toEqual({ likes: 0, views: 20 });
  });

  test('after 5 s a client gets UNAVAILABLE; its operation is committed later, and its retry is a duplicate', async () => {
    const world = new IngestWorld({ conduct: () => REFUSES });
    const first = world.submit(view('a', SESSION, 1));
    await world.clock.advance(DEADLINE_MS - 1);
    expect(first.answers).toEqual([]);
    await world.clock.advance(DEADLINE_CHECK_MS + 1);
    expect(first.answers).toEqual(['UNAVAILABLE']);
    expect(first.error).toMatchObject({ retryable: true });
    const retry = world.submit(view('a', SESSION, 1));
    world.store.conduct = () => GOOD;
    await world.clock.advance(2_000);
    expect([first.answers, retry.answers, retry.outcome]).toEqual([['UNAVAILABLE'], ['settled'], DUPLICATE]);
    expect(await world.totals('a')).toEqual({ likes: 0, views: 1 });
  });

  test('each operation has its own 5 s, even one that joins others that have waited for long', async () => {
    const world = new IngestWorld({ conduct: () => REFUSES });
    const attempts = [];
    for (let i = 0; i < 100; i++) {
      attempts.push(world.submit(view('a')));
      await world.clock.advance(100);
    }
    await world.clock.advance(DEADLINE_MS + DEADLINE_CHECK_MS);
    const waits = attempts.map(({ acceptedAtMs, answeredAtMs }) => answeredAtMs! - acceptedAtMs);
    expect(Math.min(...waits)).toBeGreaterThanOrEqual(DEADLINE_MS);
    expect(Math.max(...waits)).toBeLessThanOrEqual(DEADLINE_MS + DEADLINE_CHECK_MS);
  });

  test('an operation that joins a batch whose first operations got UNAVAILABLE is acknowledged when it is committed', async () => {
    const world = new IngestWorld({ conduct: () => REFUSES });
    world.submit(view('a'));
    await world.clock.advance(FLUSH_MS);
    const rejected = world.submit(view('a'));
    await world.clock.advance(DEADLINE_MS + DEADLINE_CHECK_MS);
    const joined = world.submit(view('a'));
    world.store.conduct = () => GOOD;
    await world.clock.advance(2_000);
    expect([rejected.answers, joined.answers]).toEqual([['UNAVAILABLE'], ['settled']]);
    expect(world.batchSizes.at(-1)).toBe(2);
  });

  test('a hanging store delays its bucket, and no operation overtakes another afterwards', async () => {
    const world = new IngestWorld();
    world.store.conduct = () => ({ appliesAfterMs: 20_000, endsAfterMs: 20_000, answers: true });
    const attempts = world.submitMany(3 * BATCH_MAX);
    await world.clock.advance(19_000);
    expect(attempts.every(({ answers }) => answers.join() === 'UNAVAILABLE')).toBe(true);
    expect([world.store.sent.length, world.ingest.pending]).toEqual([1, 3 * BATCH_MAX]);
    world.store.conduct = () => GOOD;
    await world.clock.advance(2_000);
    expect(world.store.applied.flatMap(({ operations }) => operations)).toEqual(attempts);
    expect([world.ingest.pending, attempts.every(({ answers }) => answers.length === 1)]).toEqual([0, true]);
  });
});

describe('limits', () => {
  test('with 50,000 pending, further operations are shed without effect, and may be sent again later', async () => {
    const world = new IngestWorld({ buckets: 64, conduct: () => REFUSES });
    const taken = Array.from({ length: PENDING_MAX }, (_, i) => world.submit(view(`p${i % 100}`)));
    const shed = world.submit(view('p0'));
    expect([shed.answers, world.ingest.pending]).toEqual([['OVERLOADED'], PENDING_MAX]);
    expect(shed.error?.retryAfterMs).toBeGreaterThan(0);
    world.store.conduct = () => GOOD;
    await world.clock.advance(1_000);
    expect(world.ingest.pending).toBe(0);
    expect(taken.every(({ answers }) => answers.join() === 'settled')).toBe(true);
    expect(await world.totals('p0')).toEqual({ likes: 0, views: PENDING_MAX / 100 });
    const again = world.submit(view('p0'));
    await world.clock.advance(2 * FLUSH_MS);
    expect(again.answers).toEqual(['settled']);
  });
});

describe('a drain', () => {
  test.each([3, BATCH_MAX + 3])(
    'a drain commits and acknowledges %d waiting operations at once and accepts no more',
    async (count) => {
      const world = new IngestWorld();
      const attempts = world.submitMany(count);
      let done = false;
      void world.drain(1_000).then(() => (done = true));
      const late = world.submit(view('a'));
      await world.clock.advance(FLUSH_MS - 1);
      expect([done, late.answers]).toEqual([true, ['OVERLOADED']]);
      expect(attempts.every(({ answers }) => answers.join() === 'settled')).toBe(true);
    },
  );

  test('a drain ends when its time is up, even if the store does not reply', async () => {
    const world = new IngestWorld({ conduct: () => REFUSES });
    world.submit(view('a'));
    let doneAtMs = 0;
    void world.drain(1_000).then(() => (doneAtMs = world.clock.nowMs()));
    await world.clock.advance(2_000);
    expect([doneAtMs, world.ingest.pending]).toEqual([1_000, 1]);
  });

  test('a drain ends at once if nothing is pending', async () => {
    const world = new IngestWorld();
    await world.drain(1_000);
    expect(world.clock.timers).toBe(0);
  });
});

/** Posts of different buckets, when there are as many. */
function postsOf(buckets: number): [string, string] {
  const posts = Array.from({ length: 100 }, (_, i) => `p${i}`);
  const [first, second] = Array.from({ length: buckets }, (_, b) =>
    posts.find((post) => bucketOf(post, buckets) === b)!,
  );
  return [first!, second!];
}

import { describe, expect, test } from '@jest/globals';
import { bucketOf } from '../../src/counters/bucket-of.js';
import { key } from '../contract/operations.js';
import { GOOD, REFUSES } from './faulty-store.js';
import { Attempt, FLUSH_MS, view } from './ingest-world.js';
import { LossyWorld, RETAIN_MS } from './lossy-world.js';

const RETAINED_MAX = 100_000;
const BATCH_MAX = 500;
const MINUTE_MS = 60_000;

describe('what is retained', () => {
  test('a retained batch does not keep pending operations in memory', async () => {
    const world = new LossyWorld();
    await world.viewsOneByOne(1);
    await world.failOver(1);
    world.store.up();
    await world.clock.advance(1_000);
    const [first, again] = world.store.sent.map(({ batch }) => batch.operations[0]!);
    expect([first instanceof Attempt, again instanceof Attempt]).toEqual([true, false]);
    expect(again).toEqual(view('a'));
  });

  test('a visit that is sent again has its time, without which it would be no visit', async () => {
    const world = new LossyWorld();
    const visit = { ...view('a'), kind: 'visit', actor: key(1), atS: 1_800_000_000 } as const;
    world.submit(visit);
    await world.clock.advance(FLUSH_MS + 2);
    await world.failOver(1);
    world.store.up();
    await world.clock.advance(1_000);
    expect(world.store.sent.map(({ batch }) => batch.operations[0]!.atS)).toEqual([visit.atS, visit.atS]);
  });

  test('a retained batch is dropped after its window, and then no timer runs', async () => {
    const world = new LossyWorld();
    await world.viewsOneByOne(3);
    expect(world.ingest.retained).toBe(3);
    await world.clock.advance(2 * RETAIN_MS);
    expect([world.ingest.retained, world.clock.timers]).toEqual([0, 0]);
  });

  test('a retained batch is kept while the store is down, and while it hangs afterwards', async () => {
    const world = new LossyWorld();
    await world.viewsOneByOne(3);
    await world.failOver(2);
    world.store.down();
    await world.clock.advance(10 * MINUTE_MS);
    expect(world.ingest.retained).toBe(3);
    world.store.conduct = () => ({ ...REFUSES, endsAfterMs: 3 * RETAIN_MS });
    world.store.up();
    await world.clock.advance(4 * RETAIN_MS);
    world.store.conduct = () => GOOD;
    await world.clock.advance(4 * RETAIN_MS);
    expect([await world.views(), world.ingest.retained]).toEqual([3, 0]);
  });

  test('at most 100,000 operations are retained, the newest of all queues together', async () => {
    const buckets = 8;
    const world = new LossyWorld({ buckets });
    const posts = Array.from({ length: 100 }, (_, i) => `p${i}`);
    const ofBucket = Array.from({ length: buckets }, (_, b) => posts.find((post) => bucketOf(post, buckets) === b)!);
    const rounds = 30;
    let most = 0;
    for (let i = 0; i < rounds; i++) {
      for (const post of ofBucket) world.submitMany(BATCH_MAX, post);
      await world.clock.advance(FLUSH_MS);
      most = Math.max(most, world.ingest.retained);
    }
    expect(most).toBeLessThanOrEqual(RETAINED_MAX);
    expect(most).toBeGreaterThan(RETAINED_MAX - 2 * buckets * BATCH_MAX);
    const kept = Math.floor(world.ingest.retained / BATCH_MAX / buckets);
    expect(kept).toBeLessThan(rounds);
    await world.failOver(kept * buckets);
    world.store.up();
    await world.clock.advance(5_000);
    const totals = await Promise.all(ofBucket.map((post) => world.totals(post)));
    expect(totals.map(({ views }) => views)).toEqual(Array(buckets).fill(rounds * BATCH_MAX));
  });

  test('a drain does not wait for retained batches', async () => {
    const world = new LossyWorld();
    await world.viewsOneByOne(3);
    let done = false;
    void world.drain(10_000).then(() => (done = true));
    await world.clock.advance(0);
    expect(done).toBe(true);
    world.store.up();
    await world.clock.advance(1_000);
    expect(world.numbers).toHaveLength(3);
  });
});

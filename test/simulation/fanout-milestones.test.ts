import { describe, expect, test } from '@jest/globals';
import { VIEWS } from '../../src/counters/metrics.js';
import type { MilestoneNews } from '../../src/store/milestone-store.js';
import { FanoutWorld, TICK_MS } from './fanout-world.js';

const AT_MS = Date.UTC(2026, 5, 1, 12);
/** More than a slice has. */
const MANY = 2_500;
/** Those that may wait at a time. */
const WAITING_MAX = 256;

function news(post: string, n: number): MilestoneNews {
  return { post, metric: VIEWS, n, v: n + 1, atMs: AT_MS };
}

describe('milestones for viewers', () => {
  test('a viewer of the post gets a milestone at once, and a viewer of another post does not', async () => {
    const world = new FanoutWorld();
    const [here, there] = [await world.watching('a', 'b'), await world.watching('c')];
    world.store.reached.next([news('a', 5), news('unwatched', 6)]);
    expect(here.sink.milestones).toEqual([{ post: 'a', metric: 'views', n: 5, v: 6, at: '2026-06-01T12:00:00.000Z' }]);
    await world.clock.advance(TICK_MS);
    expect([here.sink.milestones.length, there.sink.milestones.length]).toEqual([1, 0]);
  });

  test('a viewer that has left the post or has closed gets none', async () => {
    const world = new FanoutWorld();
    const [left, closed, here] = [await world.watching('a', 'b'), await world.watching('a'), await world.watching('a')];
    world.fanout.unsubscribe(left.viewer, ['a']);
    world.fanout.close(closed.viewer);
    world.store.reached.next([news('a', 5)]);
    await world.clock.advance(TICK_MS);
    expect([left, closed, here].map(({ sink }) => sink.milestones.length)).toEqual([0, 0, 1]);
  });

  test('a viewer that is about to get its first snapshot gets a milestone', async () => {
    const world = new FanoutWorld();
    const { viewer, sink } = world.open();
    world.store.holding = true;
    const subscribed = world.subscribe(viewer, ['a'], null);
    world.store.reached.next([news('a', 5)]);
    expect(sink.milestones).toHaveLength(1);
    world.store.held[0]!.finish();
    await subscribed;
  });

  test('many viewers get milestones in slices, each viewer each milestone once', async () => {
    const world = new FanoutWorld();
    const opened = Array.from({ length: MANY }, () => world.open());
    await Promise.all(opened.map(({ viewer }) => world.subscribe(viewer, ['a'], null)));
    world.store.reached.next([news('a', 5)]);
    const reachedBy = (): number => opened.filter(({ sink }) => sink.milestones.length > 0).length;
    expect(reachedBy()).toBe(1_000);
    world.store.reached.next([news('a', 6), news('a', 7)]);
    await world.clock.advance(TICK_MS);
    for (const { sink } of opened) expect(sink.milestones).toMatchObject([{ n: 5 }, { n: 6 }, { n: 7 }]);
  });

  test('more milestones than may wait are dropped', async () => {
    const world = new FanoutWorld();
    const opened = Array.from({ length: MANY }, () => world.open());
    await Promise.all(opened.map(({ viewer }) => world.subscribe(viewer, ['a'], null)));
    world.store.reached.next([news('a', 1)]);
    for (let n = 2; n <= WAITING_MAX + 50; n++) world.store.reached.next([news('a', n)]);
    await world.clock.advance(TICK_MS);
    for (const { sink } of [opened[0]!, opened.at(-1)!]) {
      expect(sink.milestones).toHaveLength(1 + WAITING_MAX);
      expect(sink.milestones.at(-1)).toMatchObject({ n: WAITING_MAX + 1 });
    }
  });

  test('a viewer whose frames have been unsent for 5 s gets none, and others do', async () => {
    const world = new FanoutWorld();
    const [slow, fast] = [await world.watching('a'), await world.watching('a')];
    slow.sink.slow = true;
    world.store.change('a', 1);
    await world.clock.advance(TICK_MS);
    world.store.change('a', 2);
    await world.clock.advance(2 * TICK_MS);
    world.store.reached.next([news('a', 5)]);
    await world.clock.advance(5_000);
    world.store.reached.next([news('a', 6)]);
    expect(slow.sink.milestones).toMatchObject([{ n: 5 }]);
    expect(fast.sink.milestones).toMatchObject([{ n: 5 }, { n: 6 }]);
    slow.sink.hasUnsent = slow.sink.slow = false;
    await world.clock.advance(TICK_MS);
    world.store.reached.next([news('a', 7)]);
    expect(slow.sink.milestones).toMatchObject([{ n: 5 }, { n: 7 }]);
  });
});

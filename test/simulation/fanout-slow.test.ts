import { describe, expect, test } from '@jest/globals';
import { CALM_MS, FanoutWorld, type RecordingSink, TICK_MS } from './fanout-world.js';

const SLOW_CONSUMER_MS = 30_000;

describe('a viewer that reads slowly', () => {
  test('a slow viewer gets the newest state in one frame within a tick after reading the last', async () => {
    const world = new FanoutWorld();
    const { sink } = await world.watching('a', 'b');
    sink.slow = true;
    for (let likes = 1; likes <= 50; likes++) {
      world.store.change('a', likes);
      world.store.change('b', 2 * likes);
      await world.clock.advance(30);
    }
    expect(sink.updates.map(({ likes }) => likes)).toEqual([1]);
    sink.hasUnsent = false;
    await world.clock.advance(TICK_MS);
    expect(sink.frames[1]?.updates.map(({ post, likes, d }) => [post, likes, d])).toEqual([
      ['b', 100, { likes: 100 }],
      ['a', 50, { likes: 49 }],
    ]);
  });

  test('a slow viewer does not slow down others', async () => {
    const world = new FanoutWorld();
    const [slow, fast] = [await world.watching('a'), await world.watching('a')];
    slow.sink.clear();
    slow.sink.hasUnsent = true;
    for (let likes = 1; likes <= 10; likes++) {
      world.store.change('a', likes);
      await world.clock.advance(TICK_MS);
    }
    expect([slow.sink.frames.length, fast.sink.frames.length]).toEqual([0, 10]);
  });

  test('a viewer that reads no frame for 30 s is disconnected once and watches nothing', async () => {
    const world = new FanoutWorld();
    const { sink } = await world.watching('a');
    sink.slow = true;
    world.store.change('a', 1);
    world.store.change('a', 2);
    await world.clock.advance(SLOW_CONSUMER_MS);
    expect(sink.disconnects).toBe(0);
    await world.clock.advance(TICK_MS);
    expect([sink.disconnects, world.fanout.stats.disconnected, world.fanout.watchedPosts]).toEqual([1, 1, 0]);
    await world.clock.advance(SLOW_CONSUMER_MS);
    expect([sink.disconnects, sink.frames.length, world.clock.timers]).toEqual([1, 1, 0]);
  });

  test('the 30 s of a slow viewer start again with each frame that it reads', async () => {
    const world = new FanoutWorld();
    const { sink } = await world.watching('a');
    sink.slow = true;
    for (let likes = 1; likes <= 100; likes++) {
      world.store.change('a', likes);
      await world.clock.advance(1_000);
      // Something is always due, and each frame takes 20 s to be read.
      if (likes % 20 === 0) sink.hasUnsent = false;
    }
    expect([sink.disconnects, sink.updates.map(({ likes }) => likes)]).toEqual([0, [1, 21, 41, 61, 81]]);
  });

  test('a slow viewer stays connected while there is nothing new for it', async () => {
    const world = new FanoutWorld();
    const { sink } = await world.watching('a');
    sink.slow = true;
    world.store.change('a', 1);
    await world.clock.advance(10 * SLOW_CONSUMER_MS);
    expect([sink.hasUnsent, sink.disconnects, world.clock.timers]).toEqual([true, 0, 0]);
  });

  test('posts that a slow viewer has left do not count against it', async () => {
    const world = new FanoutWorld();
    const { viewer, sink } = await world.watching('a', 'b');
    sink.hasUnsent = true;
    world.store.change('a', 1);
    await world.clock.advance(TICK_MS);
    world.fanout.unsubscribe(viewer, ['a']);
    await world.clock.advance(2 * SLOW_CONSUMER_MS);
    world.store.change('b', 1);
    await world.clock.advance(TICK_MS);
    expect(sink.disconnects).toBe(0);
    sink.hasUnsent = false;
    await world.clock.advance(TICK_MS);
    expect(sink.updates.map(({ post }) => post)).toEqual(['b']);
  });

  test('a slow viewer that leaves a post and watches it again has it once among its changes', async () => {
    const world = new FanoutWorld();
    const { viewer, sink } = await world.watching('a');
    sink.hasUnsent = true;
    for (let likes = 1; likes <= 100; likes++) {
      world.store.change('a', likes);
      world.fanout.unsubscribe(viewer, ['a']);
      await world.subscribe(viewer, ['a'], null);
    }
    world.store.change('a', 101);
    expect(viewer.dirty.length).toBe(1);
  });
});

describe('many viewers', () => {
  /** About 3 ms of work for one event; 0.1 ms while viewers connect. */
  const SLICE_MAX = 256;
  const SLICE_MAX_ARRIVING = 8;

  test('5,000 viewers are written to in slices with other events between them, without waiting for a tick', async () => {
    const { world, sinks } = await crowd(5_000, ['a']);
    const slices = [written(sinks, () => world.store.change('a', 1))];
    const start = world.clock.nowMs();
    while (slices.reduce((sum, n) => sum + n) < 5_000) slices.push(written(sinks, () => world.clock.step(start)));
    expect(Math.max(...slices)).toBeLessThanOrEqual(SLICE_MAX);
    expect(slices.length).toBeLessThan((2 * 5_000) / SLICE_MAX);
    expect(sinks.every(({ last }) => last?.likes === 1)).toBe(true);
  });

  test('slices are smaller while viewers connect', async () => {
    const { world, sinks } = await crowd(1_000, ['a']);
    world.open();
    expect(written(sinks, () => world.store.change('a', 1))).toBe(SLICE_MAX_ARRIVING);
    await world.clock.advance(0);
    expect(sinks.every(({ last }) => last?.likes === 1)).toBe(true);
  });

  test('the tick stretches until writing takes half of it, up to 2 s, and shrinks again', async () => {
    const { world, sinks } = await crowd(1_000, ['a']);
    for (const sink of sinks) sink.writeMs = 0.5;
    for (let i = 1; i <= 400; i++) {
      world.store.change('a', i);
      await world.clock.advance(50);
    }
    expect(world.fanout.tickMs).toBeGreaterThan(3 * TICK_MS);
    expect(world.fanout.tickMs).toBeLessThanOrEqual(2_000);
    const times = sinks[0]!.frames.map(({ atMs }) => atMs);
    const ticks = times.slice(1).map((at, i) => at - times[i]!);
    expect(Math.min(...ticks)).toBeGreaterThanOrEqual(TICK_MS);
    expect(ticks.slice(-5).reduce((sum, ms) => sum + ms) / 5).toBeGreaterThan(700);
    await world.clock.advance(10_000);
    expect(sinks.every(({ last }) => last?.likes === 400)).toBe(true);
    expect(world.fanout.tickMs).toBe(TICK_MS);
  });

  test('slices are smaller when frames are large', async () => {
    const posts = Array.from({ length: 500 }, (_, i) => `p${i}`);
    const { world, sinks } = await crowd(50, posts);
    const counts = posts.map((post) => world.store.put(post, 1));
    const first = written(sinks, () => world.store.publish(...counts));
    expect(first).toBeLessThan(SLICE_MAX);
    await world.clock.advance(0);
    expect(sinks.every(({ updates }) => updates.length === posts.length)).toBe(true);
  });

  test('a viewer of a later slice gets changes made meanwhile in the same frame', async () => {
    const { world, sinks } = await crowd(1_000, ['a', 'b']);
    world.store.change('a', 1);
    world.store.change('b', 2);
    await world.clock.advance(TICK_MS);
    expect(sinks[0]?.frames.map(({ updates }) => updates.map(({ post }) => post))).toEqual([['a'], ['b']]);
    expect(sinks.at(-1)?.frames.map(({ updates }) => updates.map(({ post }) => post))).toEqual([['a', 'b']]);
  });

  test('a viewer that leaves while waiting for its slice gets no frame', async () => {
    const { world, sinks, viewers } = await crowd(1_000, ['a']);
    world.store.change('a', 1);
    for (const viewer of viewers) world.fanout.close(viewer);
    const before = sinks.filter(({ frames }) => frames.length > 0).length;
    await world.clock.advance(CALM_MS);
    expect(sinks.filter(({ frames }) => frames.length > 0)).toHaveLength(before);
    expect(before).toBeLessThanOrEqual(SLICE_MAX);
    expect(world.clock.timers).toBe(0);
  });

  test('a change takes one timer, whatever the number of viewers', async () => {
    const { world } = await crowd(1_000, ['a']);
    world.store.change('a', 1);
    await world.clock.advance(1);
    expect(world.clock.timers).toBe(1);
  });
});

async function crowd(size: number, posts: string[]) {
  const world = new FanoutWorld();
  const all = Array.from({ length: size }, () => world.open());
  await Promise.all(all.map(({ viewer }) => world.subscribe(viewer, posts, null)));
  await world.clock.advance(CALM_MS);
  const sinks = all.map(({ sink }) => sink);
  for (const sink of sinks) sink.clear();
  return { world, sinks, viewers: all.map(({ viewer }) => viewer) };
}

/** Frames written by one event. */
function written(sinks: readonly RecordingSink[], event: () => void): number {
  const count = () => sinks.reduce((sum, { frames }) => sum + frames.length, 0);
  const before = count();
  event();
  return count() - before;
}

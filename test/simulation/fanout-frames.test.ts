import { describe, expect, test } from '@jest/globals';
import { CALM_MS, FanoutWorld, TICK_MS } from './fanout-world.js';

describe('ticks', () => {
  test('the first change after a pause is sent at once', async () => {
    const { clock, store, sink } = await createIdleWorld();
    store.change('a', 1);
    expect(sink.frames.map(({ atMs }) => atMs)).toEqual([clock.nowMs()]);
  });

  test('the last change before a pause arrives within a tick', async () => {
    const { clock, store, sink } = await createIdleWorld();
    const start = clock.nowMs();
    for (const likes of [1, 2, 3]) {
      store.change('a', likes);
      await clock.advance(30);
    }
    await clock.advance(CALM_MS);
    expect(sink.frames.map(({ atMs }) => atMs - start)).toEqual([0, TICK_MS]);
    expect(sink.last).toMatchObject({ post: 'a', v: 3, likes: 3, d: { likes: 2 } });
  });

  test('a viewer gets one frame a tick while its post keeps changing', async () => {
    const { clock, store, sink } = await createIdleWorld();
    for (let likes = 1; likes <= 100; likes++) {
      store.change('a', likes);
      await clock.advance(10);
    }
    const times = sink.frames.map(({ atMs }) => atMs);
    expect(times.slice(1).map((atMs, i) => atMs - times[i]!)).toEqual(Array(10).fill(TICK_MS));
  });

  test('one frame has all posts that changed, each once', async () => {
    const world = new FanoutWorld();
    const posts = Array.from({ length: 10 }, (_, i) => `p${i}`);
    const { sink } = await world.watching(...posts);
    world.store.change('p0', 1);
    for (let likes = 2; likes <= 4; likes++) for (const post of posts) world.store.change(post, likes);
    await world.clock.advance(TICK_MS);
    expect(sink.frames.map(({ updates }) => updates.map(({ post }) => post))).toEqual([['p0'], posts]);
  });

  test('a post that did not change is in no frame', async () => {
    const world = new FanoutWorld();
    const { sink } = await world.watching('a', 'b');
    world.store.change('a', 1);
    await world.clock.advance(CALM_MS);
    expect(sink.updates.map(({ post }) => post)).toEqual(['a']);
  });

  test('a change after an idle tick is sent at once again', async () => {
    const { clock, store, sink } = await createIdleWorld();
    store.change('a', 1);
    await clock.advance(TICK_MS);
    store.change('a', 2);
    expect(sink.frames).toHaveLength(2);
  });

  test('a change is sent at once after the only changed post was left', async () => {
    const world = new FanoutWorld();
    const { viewer, sink } = await world.watching('a', 'b');
    world.store.change('a', 1);
    world.store.change('a', 2);
    world.fanout.unsubscribe(viewer, ['a']);
    await world.clock.advance(TICK_MS);
    world.store.change('b', 1);
    expect(sink.updates.map(({ post }) => post)).toEqual(['a', 'b']);
  });
});

describe('updates', () => {
  test('an update has the post, its epoch and version, all totals, the viewers, and what changed', async () => {
    const { store, sink } = await createIdleWorld();
    store.change('a', 5, 9);
    expect(sink.last).toEqual({
      post: 'a',
      e: 'test.1.a',
      v: 1,
      likes: 5,
      views: 9,
      live: 1,
      d: { likes: 5, views: 9 },
    });
  });

  test('d omits metrics without a change and is negative for a decrease', async () => {
    const { clock, store, sink } = await createIdleWorld();
    store.change('a', 5, 9);
    await clock.advance(TICK_MS);
    store.change('a', 3, 9);
    expect(sink.last?.d).toEqual({ likes: -2 });
  });

  test('d is relative to the last update of the same viewer', async () => {
    const world = new FanoutWorld();
    const early = await world.watching('a');
    const late = await world.watching('a');
    early.sink.clear();
    late.sink.hasUnsent = true;
    world.store.change('a', 1);
    await world.clock.advance(TICK_MS);
    world.store.change('a', 3);
    late.sink.hasUnsent = false;
    await world.clock.advance(TICK_MS);
    expect(early.sink.updates.map(({ d }) => d)).toEqual([{ likes: 1 }, { likes: 2 }]);
    expect(late.sink.updates.map(({ d }) => d)).toEqual([{ likes: 3 }]);
  });

  test('a version that was sent, or an older one, is not sent again', async () => {
    const { clock, store, sink } = await createIdleWorld();
    const [one, two, three] = [store.put('a', 1), store.put('a', 2), store.put('a', 3)];
    for (const counts of [two, one, two, three, three, two]) {
      store.publish(counts);
      await clock.advance(TICK_MS);
    }
    expect(sink.updates.map(({ v }) => v)).toEqual([2, 3]);
  });

  test('another epoch replaces the counts, whatever its version', async () => {
    const { clock, store, sink } = await createIdleWorld();
    for (const likes of [4, 6]) {
      store.change('a', likes);
      await clock.advance(TICK_MS);
    }
    store.startEpoch('test.2.b');
    store.publish(store.counts('a'));
    expect(sink.last).toMatchObject({ e: 'test.2.b', v: 1, likes: 5, d: { likes: -1 } });
  });

  test('a post may be named like a property of every object', async () => {
    const world = new FanoutWorld();
    const { sink } = await world.watching('__proto__', 'constructor');
    world.store.change('__proto__', 1);
    world.store.change('constructor', 2);
    await world.clock.advance(TICK_MS);
    expect(sink.updates.map(({ post, likes }) => [post, likes])).toEqual([
      ['__proto__', 1],
      ['constructor', 2],
    ]);
  });

  test('the number of viewers is sent when it changes, with unchanged counts', async () => {
    const world = new FanoutWorld();
    const { sink } = await world.watching('a');
    world.store.change('a', 7);
    await world.clock.advance(CALM_MS);
    const other = await world.watching('a');
    expect(sink.last).toEqual({ post: 'a', e: 'test.1.a', v: 1, likes: 7, views: 0, live: 2, d: {} });
    world.fanout.close(other.viewer);
    await world.clock.advance(CALM_MS);
    expect(sink.last).toMatchObject({ v: 1, live: 1 });
  });

  test('viewers that come and go between two updates of presence cause no frame', async () => {
    const world = new FanoutWorld();
    const { sink } = await world.watching('a');
    const { viewer } = world.open();
    await world.subscribe(viewer, ['a'], null);
    world.fanout.close(viewer);
    await world.clock.advance(CALM_MS);
    expect(sink.frames).toEqual([]);
  });
});

describe('the last frames before a drain', () => {
  test('a flush sends at once the changes that wait for a tick, and only once', async () => {
    const world = new FanoutWorld();
    const { viewer, sink } = await world.watching('a');
    world.store.change('a', 1);
    world.store.change('a', 2);
    world.fanout.flush([viewer]);
    expect(sink.updates.map(({ likes }) => likes)).toEqual([1, 2]);
    await world.clock.advance(CALM_MS);
    expect(sink.frames).toHaveLength(2);
  });

  test('a flush reaches a viewer that has not read its last frame, and sends nothing where nothing changed', async () => {
    const world = new FanoutWorld();
    const [still, behind] = [await world.watching('a'), await world.watching('b')];
    still.sink.clear();
    behind.sink.hasUnsent = true;
    behind.sink.draining = true;
    world.store.change('b', 1);
    world.fanout.flush([still.viewer, behind.viewer]);
    expect(still.sink.frames).toEqual([]);
    expect(behind.sink.updates.map(({ likes }) => likes)).toEqual([1]);
  });

  test('frames after a flush are a tick apart', async () => {
    const world = new FanoutWorld();
    const { viewer, sink } = await world.watching('a');
    for (let likes = 1; likes <= 30; likes++) {
      world.store.change('a', likes);
      if (likes === 2) world.fanout.flush([viewer]);
      await world.clock.advance(20);
    }
    const times = sink.frames.slice(2).map(({ atMs }) => atMs);
    expect(times.slice(1).map((atMs, i) => atMs - times[i]!)).toEqual(Array(times.length - 1).fill(TICK_MS));
  });
});

/** One viewer of one post, and no changes yet. */
async function createIdleWorld() {
  const world = new FanoutWorld();
  const { sink } = await world.watching('a');
  return { clock: world.clock, store: world.store, sink };
}

import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { describe, expect, test } from '@jest/globals';
import type { FirstView } from '../../src/fanout/fanout.js';
import type { PostSnapshot } from '../../src/fanout/post-snapshot.js';
import { ADA, CALM_MS, FanoutWorld, TICK_MS } from './fanout-world.js';
import { settled } from './simulated-clock.js';

describe('the first snapshot', () => {
  test('the first snapshot has the stored counts and the toggles that are on', async () => {
    const world = new FanoutWorld();
    world.store.put('a', 4, 9);
    world.store.on = 1;
    const { viewer } = world.open();
    const first = await world.subscribe(viewer, ['a', 'new'], { hi: 0, lo: 7 });
    expect(first.map(({ snapshot: { counts }, on }) => [counts.post, counts.v, counts.totals, on])).toEqual([
      ['a', 1, [4, 9], 1],
      ['new', 0, [0, 0], 1],
    ]);
  });

  test('a change that is published during the read is in the snapshot and in no frame', async () => {
    const { world, viewer, sink, reading } = begun('a');
    world.store.change('a', 1);
    world.store.held[0]!.finish();
    expect(totalsOf(await reading)).toEqual([['a', 1, 1]]);
    await world.clock.advance(TICK_MS);
    expect(sink.frames).toEqual([]);
    expect(viewer.dirty.length).toBe(0);
  });

  test('frames begin after the snapshot, with d since it', async () => {
    const { world, sink, reading } = begun('a');
    world.store.held[0]!.finish();
    await reading;
    world.store.change('a', 2);
    expect(sink.last).toMatchObject({ v: 1, d: { likes: 2 } });
  });

  test('a snapshot comes before the frame for what another read of the same turn finds', async () => {
    const { world, viewer, sink } = begun('a');
    const shownAfter: number[] = [];
    const show = () => shownAfter.push(sink.frames.length);
    const readings = [world.fanout.subscribe(viewer, ['a'], null, show)];
    world.store.put('a', 3);
    readings.push(world.fanout.subscribe(world.open().viewer, ['a'], null, () => {}));
    for (const read of world.store.held.splice(0)) read.finish();
    await Promise.all(readings);
    expect([shownAfter, sink.updates]).toMatchObject([[0], [{ likes: 3, d: { likes: 3 } }]]);
  });

  test('a read that is newer than what was published reaches all viewers of the post', async () => {
    const world = new FanoutWorld();
    const { sink } = await world.watching('a');
    world.store.put('a', 3);
    await world.subscribe(world.open().viewer, ['a'], null);
    expect(sink.last).toMatchObject({ v: 1, likes: 3 });
    world.store.publish(world.store.counts('a'));
    await world.clock.advance(TICK_MS);
    expect(sink.frames).toHaveLength(1);
  });

  test('a read does not undo an epoch that is published during it', async () => {
    const world = new FanoutWorld();
    const { sink } = await world.watching('a');
    world.store.change('a', 5);
    const { reading } = begun('a', world);
    world.store.startEpoch('test.2.b');
    world.store.publish(world.store.counts('a'));
    world.store.held[0]!.finish();
    expect((await reading)[0]?.snapshot.counts).toMatchObject({ e: 'test.2.b', v: 1, totals: [4, 0] });
    await world.clock.advance(TICK_MS);
    expect(sink.last).toMatchObject({ e: 'test.2.b', likes: 4 });
  });

  test('an epoch that a read finds first replaces the counts', async () => {
    const world = new FanoutWorld();
    const { sink } = await world.watching('a');
    world.store.put('a', 5);
    world.store.startEpoch('test.2.b');
    await world.subscribe(world.open().viewer, ['a'], null);
    expect(sink.last).toMatchObject({ e: 'test.2.b', likes: 4 });
  });

  test('watching a post again gives its snapshot again, and d is relative to that', async () => {
    const world = new FanoutWorld();
    const { viewer, sink } = await world.watching('a');
    world.store.change('a', 1);
    world.store.change('a', 5);
    expect(totalsOf(await world.subscribe(viewer, ['a'], null))).toEqual([['a', 2, 5]]);
    await world.clock.advance(TICK_MS);
    world.store.change('a', 6);
    expect(sink.updates.map(({ likes, d }) => [likes, d])).toEqual([
      [1, { likes: 1 }],
      [6, { likes: 1 }],
    ]);
  });
});

describe('resending the newest state', () => {
  test('a resend is one frame within a tick, with an empty d, of watched posts only', async () => {
    const world = new FanoutWorld();
    const { viewer, sink } = await world.watching('a', 'b');
    world.store.change('a', 1);
    world.fanout.resend(viewer, ['a', 'never watched']);
    await world.clock.advance(TICK_MS);
    world.fanout.resend(viewer, ['b', 'b']);
    await world.clock.advance(CALM_MS);
    expect(sink.updates.map(({ post, likes, d }) => [post, likes, d])).toEqual([
      ['a', 1, { likes: 1 }],
      ['a', 1, {}],
      ['b', 0, {}],
    ]);
  });

  test('a resend adds nothing to a frame that is due anyway', async () => {
    const world = new FanoutWorld();
    const { viewer, sink } = await world.watching('a');
    world.store.change('a', 1);
    world.store.change('a', 3);
    world.fanout.resend(viewer, ['a']);
    await world.clock.advance(CALM_MS);
    expect(sink.updates.map(({ likes, d }) => [likes, d])).toEqual([
      [1, { likes: 1 }],
      [3, { likes: 2 }],
    ]);
  });

  test('a resend does nothing for a viewer without its snapshot, or one that has left', async () => {
    const { world, viewer, sink, reading } = begun('a');
    world.fanout.resend(viewer, ['a']);
    world.store.held[0]!.finish();
    await reading;
    world.fanout.close(viewer);
    world.fanout.resend(viewer, ['a']);
    await world.clock.advance(CALM_MS);
    expect(sink.frames).toEqual([]);
  });
});

describe('leaving', () => {
  test('a post that is left while it is read is neither returned nor watched', async () => {
    const { world, viewer, reading } = begun('a', 'b');
    world.fanout.unsubscribe(viewer, ['a', 'never watched']);
    world.store.held[0]!.finish();
    expect(totalsOf(await reading)).toEqual([['b', 0, 0]]);
    expect([...world.store.watched]).toEqual(['b']);
  });

  test('a post that is left and watched again while it is read is returned once, by the second call', async () => {
    const { world, viewer, sink, reading } = begun('a');
    world.fanout.unsubscribe(viewer, ['a']);
    const again = world.subscribe(viewer, ['a'], null);
    for (const read of world.store.held) read.finish();
    expect([totalsOf(await reading), totalsOf(await again)]).toEqual([[], [['a', 0, 0]]]);
    world.store.change('a', 1);
    expect(sink.updates).toHaveLength(1);
  });

  test('nothing is left of a viewer that leaves while its posts are read', async () => {
    const { world, viewer, sink, reading } = begun('a', 'b');
    world.fanout.close(viewer);
    world.store.held[0]!.finish();
    expect(await reading).toEqual([]);
    expect(world.fanout.watchedPosts).toBe(0);
    expect(world.presence.sumTotals()).toEqual({ connections: 0, users: 0 });
    world.store.change('a', 1);
    expect(sink.frames).toEqual([]);
  });

  test('a viewer that has left watches nothing', async () => {
    const world = new FanoutWorld();
    const { viewer } = world.open(ADA);
    world.fanout.close(viewer);
    expect(await world.subscribe(viewer, ['a'], null)).toEqual([]);
    expect([world.fanout.watchedPosts, world.presence.countViewers('a')]).toEqual([0, 0]);
  });

  test('a viewer that has left gets no frame that was due', async () => {
    const world = new FanoutWorld();
    const { viewer, sink } = await world.watching('a');
    world.store.change('a', 1);
    world.store.change('a', 2);
    world.fanout.close(viewer);
    world.fanout.flush([viewer]);
    await world.clock.advance(CALM_MS);
    expect(sink.updates.map(({ likes }) => likes)).toEqual([1]);
  });
});

describe('a store that cannot be read', () => {
  test('a failed read rejects, and posts that were not watched before are not watched', async () => {
    const { world, reading } = begun('a', 'b');
    world.store.held[0]!.fail();
    await expect(reading).rejects.toThrow('the store did not answer');
    expect([world.fanout.watchedPosts, world.presence.countViewers('a')]).toEqual([0, 0]);
  });

  test('posts that were watched before a failed read still are', async () => {
    const world = new FanoutWorld();
    const { viewer, sink } = await world.watching('a');
    world.store.holding = true;
    const reading = world.subscribe(viewer, ['a', 'b'], null);
    world.store.held[0]!.fail();
    await expect(reading).rejects.toThrow('the store did not answer');
    world.store.change('a', 1);
    expect([sink.last?.post, ...world.store.watched]).toEqual(['a', 'a']);
  });

  test('subscribing again after a failed read works', async () => {
    const { world, viewer, reading } = begun('a');
    world.store.held[0]!.fail();
    await expect(reading).rejects.toThrow();
    world.store.holding = false;
    expect(totalsOf(await world.subscribe(viewer, ['a'], null))).toEqual([['a', 0, 0]]);
  });
});

describe('a fan-out without viewers', () => {
  test('the store watches a post once, from its first viewer to its last', async () => {
    const world = new FanoutWorld();
    const viewers = await Promise.all(Array.from({ length: 5 }, () => world.watching('a', 'b')));
    expect(world.store.calls).toEqual({ watch: 2, unwatch: 0 });
    for (const { viewer } of viewers) world.fanout.close(viewer);
    expect(world.store.calls).toEqual({ watch: 2, unwatch: 2 });
  });

  test('nothing is left of viewers that have left: no post, no count and, after a while, no timer', async () => {
    const world = new FanoutWorld();
    for (let round = 0; round < 3; round++) {
      const viewers = await Promise.all(Array.from({ length: 20 }, (_, i) => world.watching(`p${i % 7}`, 'a')));
      for (let i = 0; i < 7; i++) world.store.change(`p${i}`, round + 1);
      for (const { viewer } of viewers) world.fanout.close(viewer);
      world.store.change('a', round + 1);
    }
    await world.clock.advance(CALM_MS);
    const { watch, unwatch } = world.store.calls;
    expect([world.fanout.watchedPosts, world.store.watched.size, watch - unwatch, world.clock.timers]).toEqual([
      0, 0, 0, 0,
    ]);
    expect(world.presence.sumTotals()).toEqual({ connections: 0, users: 0 });
  });

  test('a viewer whose first snapshot has a number of viewers that was never sent gets the right one', async () => {
    const world = new FanoutWorld();
    const other = await world.watching('a');
    const { viewer, sink } = world.open();
    const [first] = await world.subscribe(viewer, ['a'], null);
    expect(first?.live).toBe(2);
    world.fanout.close(other.viewer);
    await world.clock.advance(CALM_MS);
    expect(sink.last).toMatchObject({ post: 'a', live: 1, d: {} });
  });

  test('old snapshots are not kept alive, even by a slow viewer', async () => {
    setFlagsFromString('--expose-gc');
    const gc = runInNewContext('gc') as () => void;
    const world = new FanoutWorld();
    const [fast, behind] = [await world.watching('a'), await world.watching('a')];
    behind.sink.hasUnsent = true;
    const snapshots: WeakRef<PostSnapshot>[] = [];
    for (let likes = 1; likes <= 200; likes++) {
      world.store.change('a', likes);
      snapshots.push(new WeakRef(fast.viewer.subscriptions.get('a')!.watched.latest!));
      await world.clock.advance(TICK_MS);
    }
    await settled();
    gc();
    // The newest, and the one before it, which the newest has its d for.
    expect(snapshots.filter((snapshot) => snapshot.deref() !== undefined)).toHaveLength(2);
  });
});

/** A viewer that is subscribing while the read is held. */
function begun(post: string, ...rest: (string | FanoutWorld)[]) {
  const world = rest.find((one) => one instanceof FanoutWorld) ?? new FanoutWorld();
  const posts = [post, ...rest.filter((one) => typeof one === 'string')];
  world.store.holding = true;
  const { viewer, sink } = world.open();
  return { world, viewer, sink, reading: world.subscribe(viewer, posts, null) };
}

function totalsOf(first: readonly FirstView[]): (string | number | undefined)[][] {
  return first.map(({ snapshot: { counts } }) => [counts.post, counts.v, counts.totals[0]]);
}

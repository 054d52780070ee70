import { expect, test } from '@jest/globals';
import { FanoutWorld } from './fanout-world.js';
import { settled } from './simulated-clock.js';

test('what an actor has on is as new as the counts beside it, although these were published during the read', async () => {
  const world = new FanoutWorld();
  world.store.holding = true;
  world.store.put('b', 1);
  const { viewer } = world.open();
  const reading = world.subscribe(viewer, ['b', 'a'], { hi: 0, lo: 7 });
  world.store.on = 1;
  world.store.change('a', 1);
  world.store.held.shift()!.finish();
  await settled();
  expect(world.store.held).toHaveLength(1);
  world.store.held.shift()!.finish();
  const first = await reading;
  expect(first.map(({ snapshot: { counts }, on }) => [counts.post, counts.v, on])).toEqual([
    ['b', 1, 0],
    ['a', 1, 1],
  ]);
});

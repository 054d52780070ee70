import { describe, expect, test } from '@jest/globals';
import { ADA, CALM_MS, FanoutWorld } from './fanout-world.js';

describe('a viewer that is not present', () => {
  test('a viewer counts in live of a post as its last subscribe says', async () => {
    const world = new FanoutWorld();
    const { sink } = await world.watching('a');
    const { viewer } = world.open(ADA);
    const shown: unknown[] = [];
    for (const isPresent of [false, true, true, false]) {
      const [first] = await world.subscribe(viewer, ['a'], ADA, isPresent);
      await world.clock.advance(CALM_MS);
      shown.push([first!.live, sink.last?.live ?? 1]);
    }
    expect(shown).toEqual([
      [1, 1],
      [2, 2],
      [2, 2],
      [1, 1],
    ]);
    world.fanout.close(viewer);
    expect(world.presence.sumTotals()).toEqual({ connections: 1, users: 1 });
  });

  test('a viewer still counts after a subscribe that failed', async () => {
    const world = new FanoutWorld();
    const { viewer } = await world.watching('a');
    world.store.holding = true;
    const reading = world.fanout.subscribe(viewer, ['a'], null, () => undefined, false);
    world.store.held[0]!.fail();
    await expect(reading).rejects.toThrow('the store did not answer');
    expect(world.presence.countViewers('a')).toBe(1);
  });
});

import { describe, expect, it } from '@jest/globals';
import { SimulatedClock } from '../../../test/simulation/simulated-clock.js';
import { BucketSweeper } from './bucket-sweeper.js';

const SWEEP_MS = 1_000;

class World {
  readonly clock = new SimulatedClock();
  /** When each bucket was swept. */
  readonly sweeps = new Map<number, number[]>();
  readonly sweeper: BucketSweeper;

  constructor(buckets: number, sweep: (bucket: number) => Promise<number | null> = () => Promise.resolve(null)) {
    this.sweeper = new BucketSweeper(buckets, this.clock, (bucket) => {
      this.sweeps.set(bucket, [...this.sweepsOf(bucket), this.clock.nowMs()]);
      return sweep(bucket);
    });
  }

  sweepsOf(bucket: number): number[] {
    return this.sweeps.get(bucket) ?? [];
  }
}

describe('BucketSweeper', () => {
  it('every bucket is swept once a second, in turn', async () => {
    const world = new World(64);
    await world.clock.advance(3 * SWEEP_MS);
    for (let bucket = 0; bucket < 64; bucket++) {
      const [first, second, third] = world.sweepsOf(bucket);
      expect([world.sweepsOf(bucket).length, second! - first!, third! - second!]).toEqual([3, SWEEP_MS, SWEEP_MS]);
    }
    expect(new Set([...world.sweeps.values()].map(([first]) => first)).size).toBe(10);
  });

  it('a bucket is swept when a post of it is due', async () => {
    const world = new World(20);
    world.sweeper.schedulePublish(19, 40);
    world.sweeper.schedulePublish(18, null);
    await world.clock.advance(99);
    expect([...world.sweeps]).toEqual([[19, [40]]]);
  });

  it('the earlier of two times counts', async () => {
    const world = new World(20);
    for (const inMs of [60, 30, 50]) world.sweeper.schedulePublish(19, inMs);
    await world.clock.advance(99);
    expect(world.sweepsOf(19)).toEqual([30]);
  });

  it('a bucket is swept again when its sweep returns that more is due', async () => {
    const answers = [0, 25, null];
    const world = new World(20, () => Promise.resolve(answers.shift() ?? null));
    world.sweeper.schedulePublish(19, 10);
    await world.clock.advance(99);
    expect(world.sweepsOf(19)).toEqual([10, 10, 35]);
  });

  it('sweeps go on while Redis is down', async () => {
    const world = new World(1, () => Promise.reject(new Error('away')));
    await world.clock.advance(3 * SWEEP_MS);
    expect(world.sweepsOf(0).length).toBe(3);
  });

  it('a closed sweeper leaves no timers', async () => {
    const world = new World(2);
    world.sweeper.schedulePublish(1, 10);
    world.sweeper.close();
    world.sweeper.schedulePublish(1, 10);
    expect(world.clock.timers).toBe(0);
    await world.clock.advance(SWEEP_MS);
    expect(world.sweeps.size).toBe(0);
  });

  it('a sweep that ends after the close schedules nothing more', async () => {
    let finish: (inMs: number) => void = () => undefined;
    const world = new World(1, () => new Promise((resolve) => (finish = resolve)));
    world.sweeper.schedulePublish(0, 10);
    await world.clock.advance(10);
    world.sweeper.close();
    finish(5);
    await world.clock.advance(SWEEP_MS);
    expect([world.sweepsOf(0).length, world.clock.timers]).toEqual([1, 0]);
  });
});

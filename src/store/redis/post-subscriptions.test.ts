import { describe, expect, it } from '@jest/globals';
import { Subject } from 'rxjs';
import { SimulatedClock } from '../../../test/simulation/simulated-clock.js';
import { buildCountsChannel } from './codec/redis-keys.js';
import { PostSubscriptions } from './post-subscriptions.js';

const LINGER_MS = 5_000;
const SUBSCRIBED_WITHIN_MS = 1_000;
const CHANNEL = buildCountsChannel(0, 'a');

class World {
  readonly clock = new SimulatedClock();
  readonly subscribed = new Map<string, (message: Buffer) => void>();
  readonly confirmed = new Subject<readonly string[]>();
  readonly heard: string[] = [];
  readonly missed: string[] = [];
  readonly watching = new PostSubscriptions(
    {
      subscribe: (channel, heard) => void this.subscribed.set(channel, heard),
      unsubscribe: (channel) => void this.subscribed.delete(channel),
      subscribed: this.confirmed,
    },
    this.clock,
    (post, message) => this.heard.push(`${post} ${message}`),
    (posts) => this.missed.push(...posts),
  );

  /** Whether reads of the posts may go on. */
  reading(...posts: string[]): { goesOn: boolean } {
    const read = { goesOn: false };
    void this.watching.waitUntilSubscribed(posts).then(() => (read.goesOn = true));
    return read;
  }
}

describe('the channel of a post', () => {
  it('is subscribed to while the post is watched and heard from', () => {
    const world = new World();
    world.watching.watch('a', 0);
    expect([...world.subscribed.keys()]).toEqual([CHANNEL]);
    world.subscribed.get(CHANNEL)!(Buffer.from('[1]'));
    expect(world.heard).toEqual(['a [1]']);
    expect([...world.watching.watchedPosts()]).toEqual(['a']);
  });

  it('is kept a while after the last viewer has left, but not heard', async () => {
    const world = new World();
    world.watching.watch('a', 0);
    world.watching.unwatch('a');
    world.watching.unwatch('a');
    await world.clock.advance(LINGER_MS - 1);
    expect([...world.subscribed.keys()]).toEqual([CHANNEL]);
    world.subscribed.get(CHANNEL)!(Buffer.from('[1]'));
    expect(world.heard).toEqual([]);
    expect([...world.watching.watchedPosts()]).toEqual([]);
    await world.clock.advance(1);
    expect(world.subscribed.size).toBe(0);
    expect(world.clock.timers).toBe(0);
  });

  it('that is confirmed while nobody watches lets later reads go on at once', async () => {
    const world = new World();
    world.watching.watch('a', 0);
    world.watching.unwatch('a');
    world.confirmed.next([CHANNEL, 'tc:io#/#']);
    world.watching.watch('a', 0);
    const read = world.reading('a');
    await world.clock.advance(0);
    expect([read.goesOn, world.missed]).toEqual([true, []]);
  });

  it('outlives a viewer that comes back in time', async () => {
    const world = new World();
    world.watching.watch('a', 0);
    world.watching.unwatch('a');
    await world.clock.advance(LINGER_MS - 1);
    world.watching.watch('a', 0);
    await world.clock.advance(LINGER_MS);
    world.subscribed.get(CHANNEL)!(Buffer.from('[2]'));
    expect(world.heard).toEqual(['a [2]']);
  });

  it('leaves no timer behind when all is closed', () => {
    const world = new World();
    world.watching.watch('a', 0);
    world.watching.unwatch('a');
    world.watching.close();
    expect(world.clock.timers).toBe(0);
  });
});

describe('a read', () => {
  it('waits for the first confirmation of what is watched', async () => {
    const world = new World();
    world.watching.watch('a', 0);
    world.watching.watch('b', 0);
    const read = world.reading('a', 'b', 'unwatched');
    world.confirmed.next([CHANNEL]);
    await world.clock.advance(1);
    expect(read.goesOn).toBe(false);
    world.confirmed.next([buildCountsChannel(0, 'b')]);
    await world.clock.advance(0);
    expect(read.goesOn).toBe(true);
    expect(world.missed).toEqual([]);
    expect(world.clock.timers).toBe(0);
  });

  it('waits for nothing once that is there, nor for what nobody watches', async () => {
    const world = new World();
    world.watching.watch('a', 0);
    world.confirmed.next([CHANNEL]);
    const reads = [world.reading('a'), world.reading('b')];
    await world.clock.advance(0);
    expect(reads).toEqual([{ goesOn: true }, { goesOn: true }]);
  });

  it('that gave up waiting is made good for by the confirmation', async () => {
    const world = new World();
    world.watching.watch('a', 0);
    const read = world.reading('a');
    await world.clock.advance(SUBSCRIBED_WITHIN_MS);
    expect(read.goesOn).toBe(true);
    world.confirmed.next([CHANNEL]);
    expect(world.missed).toEqual(['a']);
  });
});

describe('a confirmation', () => {
  it('that no read waited for tells what may have been missed', () => {
    const world = new World();
    world.watching.watch('a', 0);
    world.confirmed.next([CHANNEL]);
    expect(world.missed).toEqual(['a']);
  });

  it('after the first tells what may have been missed', async () => {
    const world = new World();
    world.watching.watch('a', 0);
    world.reading('a');
    world.confirmed.next([CHANNEL]);
    await world.clock.advance(0);
    expect(world.missed).toEqual([]);
    world.confirmed.next([CHANNEL, buildCountsChannel(0, 'never-watched')]);
    expect(world.missed).toEqual(['a']);
  });

  it('of what is no longer watched tells nothing', () => {
    const world = new World();
    world.watching.watch('a', 0);
    world.watching.unwatch('a');
    world.confirmed.next([CHANNEL]);
    expect(world.missed).toEqual([]);
  });
});

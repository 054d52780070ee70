import { describe, expect, it } from '@jest/globals';
import { Subject } from 'rxjs';
import { SimulatedClock } from '../../../test/simulation/simulated-clock.js';
import { buildCountsChannel } from './codec/redis-keys.js';
import type { MessageHandler } from './client/sharded-pubsub.js';
import { PostSubscriptions } from './post-subscriptions.js';

const LINGER_MS = 5_000;
const SUBSCRIBED_WITHIN_MS = 1_000;
const CHANNEL = buildCountsChannel(0, 'a');

class World {
  readonly clock = new SimulatedClock();
  readonly channels = new Map<string, MessageHandler>();
  readonly subscribed = new Subject<readonly string[]>();
  readonly messages: string[] = [];
  readonly rereads: string[] = [];
  readonly subscriptions = new PostSubscriptions(
    {
      subscribe: (channel, onMessage) => void this.channels.set(channel, onMessage),
      unsubscribe: (channel) => void this.channels.delete(channel),
      subscribed: this.subscribed,
    },
    this.clock,
    (post, message) => this.messages.push(`${post} ${message}`),
    (posts) => this.rereads.push(...posts),
  );

  /** The message of another gateway about `a`. */
  publish(message: string): void {
    this.channels.get(CHANNEL)!(Buffer.from(message), Buffer.from(CHANNEL));
  }

  /** @returns whether a read of the posts has stopped waiting */
  reading(...posts: string[]): { isReady: boolean } {
    const read = { isReady: false };
    void this.subscriptions.waitUntilSubscribed(posts).then(() => (read.isReady = true));
    return read;
  }
}

describe('the channel of a post', () => {
  it('a watched post is subscribed to, and its messages arrive', () => {
    const world = new World();
    world.subscriptions.watch('a', 0);
    expect([...world.channels.keys()]).toEqual([CHANNEL]);
    world.publish('[1]');
    expect(world.messages).toEqual(['a [1]']);
    expect([...world.subscriptions.watchedPosts()]).toEqual(['a']);
  });

  it('a channel is kept for a while after the last viewer has left, and its messages are ignored', async () => {
    const world = new World();
    world.subscriptions.watch('a', 0);
    world.subscriptions.unwatch('a');
    world.subscriptions.unwatch('a');
    await world.clock.advance(LINGER_MS - 1);
    expect([...world.channels.keys()]).toEqual([CHANNEL]);
    world.publish('[1]');
    expect(world.messages).toEqual([]);
    expect([...world.subscriptions.watchedPosts()]).toEqual([]);
    await world.clock.advance(1);
    expect(world.channels.size).toBe(0);
    expect(world.clock.timers).toBe(0);
  });

  it('reads do not wait for a channel that was subscribed to without viewers', async () => {
    const world = new World();
    world.subscriptions.watch('a', 0);
    world.subscriptions.unwatch('a');
    world.subscribed.next([CHANNEL, 'tc:io#/#']);
    world.subscriptions.watch('a', 0);
    const read = world.reading('a');
    await world.clock.advance(0);
    expect([read.isReady, world.rereads]).toEqual([true, []]);
  });

  it('a channel survives when a viewer comes back in time', async () => {
    const world = new World();
    world.subscriptions.watch('a', 0);
    world.subscriptions.unwatch('a');
    await world.clock.advance(LINGER_MS - 1);
    world.subscriptions.watch('a', 0);
    await world.clock.advance(LINGER_MS);
    world.publish('[2]');
    expect(world.messages).toEqual(['a [2]']);
  });

  it('no timer is left after close', () => {
    const world = new World();
    world.subscriptions.watch('a', 0);
    world.subscriptions.unwatch('a');
    world.subscriptions.close();
    expect(world.clock.timers).toBe(0);
  });
});

describe('a read', () => {
  it('a read waits until all watched posts are subscribed to', async () => {
    const world = new World();
    world.subscriptions.watch('a', 0);
    world.subscriptions.watch('b', 0);
    const read = world.reading('a', 'b', 'unwatched');
    world.subscribed.next([CHANNEL]);
    await world.clock.advance(1);
    expect(read.isReady).toBe(false);
    world.subscribed.next([buildCountsChannel(0, 'b')]);
    await world.clock.advance(0);
    expect(read.isReady).toBe(true);
    expect(world.rereads).toEqual([]);
    expect(world.clock.timers).toBe(0);
  });

  it('a read waits neither for a subscribed channel nor for a post without viewers', async () => {
    const world = new World();
    world.subscriptions.watch('a', 0);
    world.subscribed.next([CHANNEL]);
    const reads = [world.reading('a'), world.reading('b')];
    await world.clock.advance(0);
    expect(reads).toEqual([{ isReady: true }, { isReady: true }]);
  });

  it('a post whose read gave up waiting is read again once it is subscribed to', async () => {
    const world = new World();
    world.subscriptions.watch('a', 0);
    const read = world.reading('a');
    await world.clock.advance(SUBSCRIBED_WITHIN_MS);
    expect(read.isReady).toBe(true);
    world.subscribed.next([CHANNEL]);
    expect(world.rereads).toEqual(['a']);
  });
});

describe('a reply to a subscription', () => {
  it('a post that no read waited for is read again once it is subscribed to', () => {
    const world = new World();
    world.subscriptions.watch('a', 0);
    world.subscribed.next([CHANNEL]);
    expect(world.rereads).toEqual(['a']);
  });

  it('a post is read again when its channel is subscribed to again', async () => {
    const world = new World();
    world.subscriptions.watch('a', 0);
    world.reading('a');
    world.subscribed.next([CHANNEL]);
    await world.clock.advance(0);
    expect(world.rereads).toEqual([]);
    world.subscribed.next([CHANNEL, buildCountsChannel(0, 'never-watched')]);
    expect(world.rereads).toEqual(['a']);
  });

  it('a post without viewers is not read again', () => {
    const world = new World();
    world.subscriptions.watch('a', 0);
    world.subscriptions.unwatch('a');
    world.subscribed.next([CHANNEL]);
    expect(world.rereads).toEqual([]);
  });
});

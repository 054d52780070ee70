import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import type { Redis } from 'ioredis';
import { type Clock, systemClock, type Timer } from '../../src/common/clock.js';
import { buildCountsChannel } from '../../src/store/redis/codec/redis-keys.js';
import { RedisClient } from '../../src/store/redis/client/redis-client.js';
import { parseRedisUrl } from '../../src/config/redis-url.js';
import { RedisStore } from '../../src/store/redis/redis-store.js';
import { PublishedCounts } from '../contract/published-counts.js';
import { BUCKETS, Producer, METRICS, postIn, view } from '../contract/operations.js';
import { type RedisServer, startRedis, stopRedis } from '../support/redis-server.js';
import { openRedisStore } from '../support/redis-store.js';
import { until } from '../support/until.js';

const [POST, OTHER, THIRD] = [postIn(0), postIn(0, 1), postIn(0, 2)];
const HOUR_MS = 3_600_000;

let server: RedisServer;
let client: Redis;
let stores: RedisStore[];

beforeAll(async () => {
  server = await startRedis();
  client = server.client();
});
afterAll(stopRedis);
beforeEach(async () => {
  await client.flushall();
  stores = [];
});
afterEach(async () => {
  await Promise.all(stores.map((store) => store.close()));
});

async function open(publishMs = 20): Promise<RedisStore> {
  const store = await openRedisStore(server.url, { metrics: METRICS, buckets: BUCKETS, publishIntervalMs: publishMs });
  stores.push(store);
  return store;
}

/** What Redis publishes of a post, for as long as the test runs. */
async function messagesOf(post: string): Promise<string[]> {
  const messages: string[] = [];
  const subscriber = server.client();
  subscriber.on('smessage', (_: string, message: string) => messages.push(message));
  await subscriber.ssubscribe(buildCountsChannel(0, post));
  return messages;
}

/** This many commits of each store, each with a view. */
async function viewByAll(stores: readonly RedisStore[], commits: number): Promise<void> {
  const lives = stores.map((_, i) => new Producer(`life-of-${i}`));
  for (let i = 0; i < commits; i++) {
    await Promise.all(stores.map((store, j) => store.commit(lives[j]!.batch(0, [view(POST)]))));
  }
}

async function live(store: RedisStore, post: string): Promise<number> {
  return (await store.read([post], null))[0]!.counts.live;
}

describe('announcements', () => {
  it('that are none of ours are not heard, and the next one is', async () => {
    const store = await open();
    const announced = new PublishedCounts(store);
    store.watch(POST);
    await store.read([POST], null);
    for (const junk of ['hello', '{"type":3}', '[', '']) await client.spublish(buildCountsChannel(0, POST), junk);
    await store.commit(new Producer('life-one').batch(0, [view(POST)]));
    await announced.waitFor(POST, 1);
    expect(announced.latest(POST)?.totals).toEqual([0, 1, 0, 0]);
  });

  it('are at most one a post an interval, however many change it', async () => {
    const stores = [await open(HOUR_MS), await open(HOUR_MS)];
    const messages = await messagesOf(POST);
    await viewByAll(stores, 300);
    // What was published before this is heard before it.
    await client.spublish(buildCountsChannel(0, POST), 'the end');
    await until(() => messages.at(-1) === 'the end', 'the end is heard');
    expect(messages).toHaveLength(2);
  });

  it('go on after an interval, and the last tells the end', async () => {
    const stores = [await open(50), await open(50)];
    const messages = await messagesOf(POST);
    await viewByAll(stores, 300);
    const last = (): number[] => JSON.parse(messages.at(-1) ?? '[]') as number[];
    await until(() => last()[2] === 2 * 300, 'the last version is published');
    expect(messages.length).toBeGreaterThan(1);
    expect(last().slice(5)).toEqual([0, 2 * 300, 0, 0]);
  });

  it('the last change is announced, though the store that caused it is closed at once', async () => {
    const [one, two] = [await open(200), await open(200)];
    const announced = new PublishedCounts(two);
    two.watch(POST);
    await two.read([POST], null);
    const life = new Producer('life-one');
    await one.commit(life.batch(0, [view(POST)]));
    await one.commit(life.batch(0, [view(POST)]));
    await one.close();
    await announced.waitFor(POST, 2);
    expect(announced.latest(POST)?.totals).toEqual([0, 2, 0, 0]);
  });

  it('nothing is published of a post that nobody watches', async () => {
    const store = await open();
    const heard: string[] = [];
    const monitor = await server.client().monitor();
    monitor.on('monitor', (_: string, [command, channel]: string[]) => {
      if (command!.toLowerCase() === 'spublish') heard.push(channel!);
    });
    const messages = await messagesOf(POST);
    const life = new Producer('life-one');
    await store.commit(life.batch(0, [view(OTHER)]));
    await store.commit(life.batch(0, [view(OTHER), view(POST)]));
    await until(() => messages.length > 0 && heard.length > 0, 'the watched post is published');
    monitor.disconnect();
    expect(new Set(heard)).toEqual(new Set([buildCountsChannel(0, POST)]));
    expect(await client.zcard('tc:{0}:publish_due')).toBe(0);
  });
});

describe('viewers', () => {
  it('of all stores are summed up, and told to all that watch', async () => {
    const [one, two] = [await open(), await open()];
    for (const store of [one, two]) {
      store.watch(POST);
      await store.read([POST], null);
    }
    const told = [one, two].map((store) => {
      const seen = { live: 0 };
      store.changes.subscribe((changed) => (seen.live = changed.at(-1)!.live));
      return seen;
    });
    one.reportViewers(new Map([[POST, 3]]));
    two.reportViewers(new Map([[POST, 4]]));
    await until(() => told.every((seen) => seen.live === 7), 'both are told of 7 viewers');
    one.reportViewers(new Map([[POST, 1]]));
    await until(() => told.every((seen) => seen.live === 5), 'both are told of 5 viewers');
    one.reportViewers(new Map([[POST, 0]]));
    two.reportViewers(new Map([[POST, 0]]));
    await until(() => told.every((seen) => seen.live === 0), 'both are told of 0 viewers');
    await until(async () => (await client.exists('tc:{0}:viewers')) === 0, 'nothing is kept of a post without viewers');
  });

  it('of stores that vanish or are away for longer than their lease are taken back, and come back with them', async () => {
    const clock = new PausableClock();
    const [{ store: gone, vanish }, { store: paused }] = [
      await openWith('gone', systemClock),
      await openWith('paused', clock),
    ];
    const stays = await open();
    stays.watch(POST);
    await stays.read([POST], null);
    stays.reportViewers(new Map([[POST, 1]]));
    gone.reportViewers(
      new Map([
        [POST, 10],
        [OTHER, 10],
      ]),
    );
    paused.reportViewers(new Map([[THIRD, 10]]));
    const lives = (): Promise<number[]> => Promise.all([POST, OTHER, THIRD].map((post) => live(stays, post)));
    await until(async () => (await lives()).join() === '11,10,10', 'all are told');
    const told = { live: 11 };
    stays.changes.subscribe((changed) => (told.live = changed.at(-1)!.live));
    clock.pause();
    await vanish();
    await until(() => told.live === 1, 'those who watch are told of the viewers that are gone');
    await until(async () => (await lives()).join() === '1,0,0', 'those of posts that nobody watches are gone, too');
    await until(async () => (await client.keys('tc:{0}:viewers:*')).length === 1, 'one gateway has shares');
    clock.resume();
    await until(async () => (await live(stays, THIRD)) === 10, 'those of the store that was away come back');
  });
});

/** With `vanish` its connections are closed, and it says nothing: as if its process were killed. */
async function openWith(gateway: string, clock: Clock): Promise<{ store: RedisStore; vanish: () => Promise<void> }> {
  const target = parseRedisUrl(server.url);
  const connections = await RedisClient.open(target, {
    clock: systemClock,
    replicated: false,
    warn: () => undefined,
  });
  const options = { metrics: METRICS, buckets: BUCKETS, actorKeys: 'hash', region: 'local', gateway } as const;
  const store = await RedisStore.open(connections, clock, {
    ...options,
    publishIntervalMs: 20,
    hasPeers: false,
    nonce: () => 7,
    wallMs: () => clock.wallMs(),
  });
  stores.push(store);
  return { store, vanish: () => connections.close() };
}

/** No timer fires while it is paused, as in a process that is stopped. */
class PausableClock implements Clock {
  #held: (() => void)[] | null = null;

  nowMs(): number {
    return systemClock.nowMs();
  }

  wallMs(): number {
    return systemClock.wallMs();
  }

  soon(call: () => void): void {
    systemClock.soon(call);
  }

  after(ms: number, call: () => void): Timer {
    return systemClock.after(ms, () => {
      if (this.#held === null) call();
      else this.#held.push(call);
    });
  }

  pause(): void {
    this.#held = [];
  }

  resume(): void {
    const held = this.#held ?? [];
    this.#held = null;
    for (const call of held) call();
  }
}

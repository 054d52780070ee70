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
import { anonymousViewers } from '../support/viewers-of-post.js';

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

/** Subscribes to the counts of a post. @returns the messages, which grow during the test */
async function subscribeTo(post: string): Promise<string[]> {
  const messages: string[] = [];
  const subscriber = server.client();
  subscriber.on('smessage', (_: string, message: string) => messages.push(message));
  await subscriber.ssubscribe(buildCountsChannel(0, post));
  return messages;
}

/** Each store commits one view this many times. */
async function viewByAll(stores: readonly RedisStore[], commits: number): Promise<void> {
  const producers = stores.map((_, i) => new Producer(`prod-${i}`));
  for (let i = 0; i < commits; i++) {
    await Promise.all(stores.map((store, j) => store.commit(producers[j]!.batch(0, [view(POST)]))));
  }
}

async function readViewerCount(store: RedisStore, post: string): Promise<number> {
  return (await store.read([post], null))[0]!.counts.live;
}

describe('published counts', () => {
  it('a store ignores malformed messages and reads the next one', async () => {
    const store = await open();
    const published = new PublishedCounts(store);
    store.watch(POST);
    await store.read([POST], null);
    for (const junk of ['hello', '{"type":3}', '[', '']) await client.spublish(buildCountsChannel(0, POST), junk);
    await store.commit(new Producer('prod-one').batch(0, [view(POST)]));
    await published.waitFor(POST, 1);
    expect(published.latest(POST)?.totals).toEqual([0, 1, 0, 0]);
  });

  it('a post is published at most once an interval, however many stores change it', async () => {
    const stores = [await open(HOUR_MS), await open(HOUR_MS)];
    const messages = await subscribeTo(POST);
    await viewByAll(stores, 300);
    // Messages arrive in the order in which they were published.
    await client.spublish(buildCountsChannel(0, POST), 'the end');
    await until(() => messages.at(-1) === 'the end', 'the last message is received');
    expect(messages).toHaveLength(2);
  });

  it('a post is published again after an interval, and the last message has the final counts', async () => {
    const stores = [await open(50), await open(50)];
    const messages = await subscribeTo(POST);
    await viewByAll(stores, 300);
    const last = (): number[] => JSON.parse(messages.at(-1) ?? '[]') as number[];
    await until(() => last()[2] === 2 * 300, 'the last version is published');
    expect(messages.length).toBeGreaterThan(1);
    expect(last().slice(5)).toEqual([0, 2 * 300, 0, 0]);
  });

  it('the last change is published even if the store that committed it is closed at once', async () => {
    const [one, two] = [await open(200), await open(200)];
    const published = new PublishedCounts(two);
    two.watch(POST);
    await two.read([POST], null);
    const producer = new Producer('prod-one');
    await one.commit(producer.batch(0, [view(POST)]));
    await one.commit(producer.batch(0, [view(POST)]));
    await one.close();
    await published.waitFor(POST, 2);
    expect(published.latest(POST)?.totals).toEqual([0, 2, 0, 0]);
  });

  it('a post that nobody watches is not published', async () => {
    const store = await open();
    const channels: string[] = [];
    const monitor = await server.client().monitor();
    monitor.on('monitor', (_: string, [command, channel]: string[]) => {
      if (command!.toLowerCase() === 'spublish') channels.push(channel!);
    });
    const messages = await subscribeTo(POST);
    const producer = new Producer('prod-one');
    await store.commit(producer.batch(0, [view(OTHER)]));
    await store.commit(producer.batch(0, [view(OTHER), view(POST)]));
    await until(() => messages.length > 0 && channels.length > 0, 'the watched post is published');
    monitor.disconnect();
    expect(new Set(channels)).toEqual(new Set([buildCountsChannel(0, POST)]));
    expect(await client.zcard('tc:{0}:publish_due')).toBe(0);
  });
});

describe('viewers', () => {
  it('the viewers of all stores are summed up and published to all stores that watch', async () => {
    const [one, two] = [await open(), await open()];
    for (const store of [one, two]) {
      store.watch(POST);
      await store.read([POST], null);
    }
    const latest = [one, two].map((store) => {
      const seen = { live: 0 };
      store.changes.subscribe((changed) => (seen.live = changed.at(-1)!.live));
      return seen;
    });
    one.reportViewers(new Map([[POST, anonymousViewers(3)]]));
    two.reportViewers(new Map([[POST, anonymousViewers(4)]]));
    await until(() => latest.every(({ live }) => live === 7), 'both stores emit 7 viewers');
    one.reportViewers(new Map([[POST, anonymousViewers(1)]]));
    await until(() => latest.every(({ live }) => live === 5), 'both stores emit 5 viewers');
    one.reportViewers(new Map([[POST, anonymousViewers(0)]]));
    two.reportViewers(new Map([[POST, anonymousViewers(0)]]));
    await until(() => latest.every(({ live }) => live === 0), 'both stores emit 0 viewers');
    await until(async () => (await client.exists('tc:{0}:viewers')) === 0, 'a post without viewers has no record');
  });

  it('viewers of a store whose lease ends are subtracted, and are added again when the store resumes', async () => {
    const clock = new PausableClock();
    const [{ store: killed, kill }, { store: paused }] = [
      await openWith('killed', systemClock),
      await openWith('paused', clock),
    ];
    const remaining = await open();
    remaining.watch(POST);
    await remaining.read([POST], null);
    remaining.reportViewers(new Map([[POST, anonymousViewers(1)]]));
    killed.reportViewers(
      new Map([
        [POST, anonymousViewers(10)],
        [OTHER, anonymousViewers(10)],
      ]),
    );
    paused.reportViewers(new Map([[THIRD, anonymousViewers(10)]]));
    const readViewerCounts = (): Promise<number[]> =>
      Promise.all([POST, OTHER, THIRD].map((post) => readViewerCount(remaining, post)));
    await until(async () => (await readViewerCounts()).join() === '11,10,10', 'all viewers are reported');
    const latest = { live: 11 };
    remaining.changes.subscribe((changed) => (latest.live = changed.at(-1)!.live));
    clock.pause();
    await kill();
    await until(() => latest.live === 1, 'the watching store emits the count without the viewers of the other stores');
    await until(
      async () => (await readViewerCounts()).join() === '1,0,0',
      'the viewers of posts that nobody watches are subtracted, too',
    );
    await until(async () => (await client.keys('tc:{0}:viewers:*')).length === 1, 'one gateway has viewer reports');
    clock.resume();
    await until(
      async () => (await readViewerCount(remaining, THIRD)) === 10,
      'the viewers of the resumed store are added again',
    );
  });
});

/** Opens a store. `kill` closes its connections without a final report, like the end of its process. */
async function openWith(gateway: string, clock: Clock): Promise<{ store: RedisStore; kill: () => Promise<void> }> {
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
    peers: [],
    nonce: () => 7,
    wallMs: () => clock.wallMs(),
  });
  stores.push(store);
  return { store, kill: () => connections.close() };
}

/** A clock whose timers do not fire while it is paused, as in a process that is stopped. */
class PausableClock implements Clock {
  #delayed: (() => void)[] | null = null;

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
      if (this.#delayed === null) call();
      else this.#delayed.push(call);
    });
  }

  pause(): void {
    this.#delayed = [];
  }

  resume(): void {
    const delayed = this.#delayed ?? [];
    this.#delayed = null;
    for (const call of delayed) call();
  }
}

import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { bucketOf } from '../../src/counters/ids.js';
import { hashSlot } from '../../src/store/redis/client/hash-slot.js';
import { LIMIT_MS, SCALE } from '../property/runs.js';
import { closeClients, LedgerClient, sumLedgers, readTotals } from '../support/clients.js';
import { FAST_RECONNECT } from '../support/clients-crowd.js';
import { startGateway, stopAll } from '../support/gateway-process.js';
import { readMetric, readMetrics, countOperations } from '../support/metrics.js';
import { Random } from '../support/random.js';
import { type RedisCluster, startCluster } from '../support/redis-cluster.js';
import { withClient, type RedisServer, stopRedis, untilInSync } from '../support/redis-server.js';
import { until } from '../support/until.js';
import { GatewaysUnderLoad } from './gateways-under-load.js';

const SOCKETS = 50;
const BUCKETS = Array.from({ length: 64 }, (_, bucket) => bucket);
const SEED = Number(process.env['TEST_SEED'] ?? Date.now() % 1_000_000);
const MOVES = 4 * SCALE;
const KILLS = SCALE;
const FLUSHES = 4 * SCALE;
const OUT_OF_MEMORY = SCALE;
/** In between, so that each fault meets work. */
const ACKNOWLEDGED = 100;
const PRIMARIES = 3;
/** What a primary with nothing in it already exceeds. */
const TOO_LITTLE = '1mb';
/** Keys of a bucket that operations, viewers or both need: docs/redis-keys.md. */
const NEEDED_KEYS = ['', ':producers', ':viewers', ':publish_after', ':publish_due', ':posts:0', ':marks:2:'];
/** A session's mark is in one of these chunks. */
const MARK_CHUNKS = 8;
/** Takes what is there out of the way first. */
const SPOIL = `
  if redis.call('EXISTS', KEYS[1]) == 1 then redis.call('RENAME', KEYS[1], KEYS[2]) end
  redis.call('SET', KEYS[1], 'not what it should be')`;
const RESTORE = `
  redis.call('DEL', KEYS[1])
  if redis.call('EXISTS', KEYS[2]) == 1 then redis.call('RENAME', KEYS[2], KEYS[1]) end`;

/** A fault that takes long on a slow machine is to end before operations are refused, which is after 5 s. */
const TIME_SCALE = 3;

describe(`two gateways on a cluster, with ACK=replicated (TEST_SEED=${SEED})`, () => {
  const random = new Random(SEED);
  let cluster: RedisCluster;
  let urls: string[];
  /** Of two more, which refuse after 5 s. */
  let promptUrls: string[];

  beforeAll(async () => {
    cluster = await startCluster({ nodeTimeoutMs: 1_000 });
    const env = { REDIS_URL: cluster.url, ACK: 'replicated', MAX_OPS_PER_CONNECTION: '0' };
    const timeScales = [TIME_SCALE, TIME_SCALE, 1, 1];
    const gateways = await Promise.all(timeScales.map((timeScale) => startGateway(env, { timeScale })));
    urls = gateways.slice(0, 2).map(({ url }) => url);
    promptUrls = gateways.slice(2).map(({ url }) => url);
  });
  afterEach(closeClients);
  afterAll(async () => {
    await stopAll();
    await stopRedis();
  });

  it(
    `count exactly while ${MOVES} slots move under load`,
    async () => {
      const load = new GatewaysUnderLoad(urls, postsOf(BUCKETS, 'moved'), SOCKETS, random);
      load.crowd.act();
      await load.crowd.untilAcknowledgements(ACKNOWLEDGED);
      for (let move = 0; move < MOVES; move++) {
        const slot = slotOfBucket(random.pick(BUCKETS));
        const from = await cluster.findPrimary(slot);
        await cluster.moveSlot(slot, random.pick(cluster.nodes.slice(0, PRIMARIES).filter((node) => node !== from)));
        await load.crowd.untilAcknowledgements(ACKNOWLEDGED);
      }
      await load.expectNothingLost({});
      await load.expectExact({});
      expect(load.errors).toEqual({ refusals: 0, disconnects: 0 });
    },
    LIMIT_MS,
  );

  it(
    `count exactly when a primary is killed and its replica promoted, ${KILLS} times`,
    async () => {
      const load = new GatewaysUnderLoad(urls, postsOf(BUCKETS, 'killed'), SOCKETS, random);
      for (let round = 1; round <= KILLS; round++) {
        load.crowd.act();
        await load.crowd.untilAcknowledgements(ACKNOWLEDGED * 5);
        const slot = slotOfBucket(random.pick(BUCKETS));
        const old = await cluster.findPrimary(slot);
        await old.kill('SIGKILL');
        await until(async () => (await cluster.findPrimary(slot)) !== old, 'another primary is elected');
        await old.restart();
        await load.crowd.untilAcknowledgements(ACKNOWLEDGED);
        await load.expectNothingLost({ round });
        await load.expectExact({ round });
        expect({ round, ...load.errors }).toEqual({ round, refusals: 0, disconnects: 0 });
        await untilInSync(old, await cluster.findPrimary(slot));
      }
    },
    LIMIT_MS,
  );

  it(
    `go on without a word when scripts are flushed everywhere, ${FLUSHES} times`,
    async () => {
      const load = new GatewaysUnderLoad(urls, postsOf(BUCKETS, 'flushed'), SOCKETS, random);
      load.crowd.act();
      for (let flush = 0; flush < FLUSHES; flush++) {
        await load.crowd.untilAcknowledgements(ACKNOWLEDGED);
        await Promise.all(cluster.nodes.map((node) => withClient(node, (client) => client.script('FLUSH'))));
      }
      await load.crowd.untilAcknowledgements(ACKNOWLEDGED);
      await load.expectExact({});
      expect(load.errors).toEqual({ refusals: 0, disconnects: 0 });
    },
    LIMIT_MS,
  );

  it(
    `wait for a primary that is out of memory, and only those who need it, ${OUT_OF_MEMORY} times`,
    async () => {
      const full = await cluster.findPrimary(slotOfBucket(0));
      const needIt = await bucketsOf(full);
      const others = BUCKETS.filter((bucket) => !needIt.includes(bucket));
      const [waiting, going] = [needIt, others].map((buckets, i) => {
        return new GatewaysUnderLoad(urls, postsOf(buckets, `memory-${i}`), SOCKETS / 2, random);
      }) as [GatewaysUnderLoad, GatewaysUnderLoad];
      const retries = async (url: string): Promise<number> => await readMetric(url, 'tallycast_commit_retries_total');
      for (let round = 1; round <= OUT_OF_MEMORY; round++) {
        for (const { crowd } of [waiting, going]) crowd.act();
        await waiting.crowd.untilAcknowledgements(ACKNOWLEDGED);
        const before = await Promise.all(urls.map(retries));
        await withClient(full, (client) => client.config('SET', 'maxmemory', TOO_LITTLE));
        await until(async () => {
          const after = await Promise.all(urls.map(retries));
          return after.every((count, i) => count > before[i]!);
        }, 'both gateways are refused');
        await going.crowd.untilAcknowledgements(ACKNOWLEDGED * 5);
        await going.expectExact({ round });
        await withClient(full, (client) => client.config('SET', 'maxmemory', '0'));
        await waiting.crowd.untilAcknowledgements(ACKNOWLEDGED);
        await waiting.expectExact({ round });
      }
      for (const { errors } of [waiting, going]) expect(errors).toEqual({ refusals: 0, disconnects: 0 });
    },
    LIMIT_MS,
  );

  it('say UNAVAILABLE of buckets whose keys hold something else, and count all when they are restored', async () => {
    const spoilt = shuffled(BUCKETS, random).slice(0, NEEDED_KEYS.length);
    const posts = postsOf(spoilt, 'spoilt');
    const well = postsOf(
      BUCKETS.filter((bucket) => !spoilt.includes(bucket)),
      'well',
    );
    const load = new GatewaysUnderLoad(promptUrls, well, SOCKETS, random);
    const watching = new GatewaysUnderLoad(promptUrls, posts, 0, random);
    const clients = posts.flatMap((_, i) =>
      promptUrls.map((url, j) => new LedgerClient(url, `viewer-${i}-${j}`, FAST_RECONNECT)),
    );
    const view = (): void => clients.forEach((client, i) => client.act({ event: 'view', post: posts[i >> 1]! }));
    await Promise.all(watching.watchers.map((watcher) => watcher.untilSubscribed()));
    view();
    await Promise.all(clients.map((client) => client.untilAcknowledged()));
    load.crowd.act();

    const client = cluster.client();
    const keys = NEEDED_KEYS.flatMap((suffix, i) => {
      const chunks = suffix.endsWith(':') ? Array.from({ length: MARK_CHUNKS }, (_, chunk) => chunk) : [''];
      return chunks.map((chunk) => `tc:{${spoilt[i]!}}${suffix}${chunk}`);
    });
    for (const key of keys) await client.eval(SPOIL, 2, key, `${key}:aside`);
    view();
    await until(() => clients.every(({ rejections }) => rejections > 0), 'all of them are refused');
    await load.crowd.untilAcknowledgements(ACKNOWLEDGED);
    await load.expectExact({});
    expect(load.errors).toEqual({ refusals: 0, disconnects: 0 });
    for (const url of promptUrls) {
      const metrics = await readMetrics(url);
      expect(countOperations(metrics, 'UNAVAILABLE')).toBeGreaterThanOrEqual(posts.length);
    }

    for (const key of keys) await client.eval(RESTORE, 2, key, `${key}:aside`);
    await Promise.all(clients.map((client) => client.untilAcknowledged()));
    const asked = sumLedgers(
      clients.map(({ sent }) => sent),
      posts,
    );
    for (const url of promptUrls) expect(await readTotals(url, posts)).toEqual(asked);
    await Promise.all(watching.watchers.map((watcher) => watcher.untilShows(asked)));
    expect(watching.watchers.map(({ summed }) => summed)).toEqual(promptUrls.map(() => asked));
    expect(watching.errors.disconnects).toBe(0);
  });

  async function bucketsOf(server: RedisServer): Promise<number[]> {
    const owners = await Promise.all(BUCKETS.map((bucket) => cluster.findPrimary(slotOfBucket(bucket))));
    return BUCKETS.filter((bucket) => owners[bucket] === server);
  }
});

/** One post of each of the buckets. */
function postsOf(buckets: readonly number[], name: string): string[] {
  return buckets.map((bucket) => {
    for (let i = 0; ; i++) if (bucketOf(`${name}-${i}`, BUCKETS.length) === bucket) return `${name}-${i}`;
  });
}

function slotOfBucket(bucket: number): number {
  return hashSlot(`tc:{${bucket}}`);
}

function shuffled<T>(items: readonly T[], random: Random): T[] {
  return items
    .map((item) => ({ item, place: random.next() }))
    .sort((a, b) => a.place - b.place)
    .map(({ item }) => item);
}

import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { bucketOf } from '../../src/counters/bucket-of.js';
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

const SOCKETS = 20;
const BUCKETS = Array.from({ length: 64 }, (_, bucket) => bucket);
const SEED = Number(process.env['TEST_SEED'] ?? Date.now() % 1_000_000);
const MOVES = 2 * SCALE;
const KILLS = SCALE;
const FLUSHES = 2 * SCALE;
const OUT_OF_MEMORY = SCALE;
/** Acknowledgements between two faults, so that each fault comes under load. */
const ACKNOWLEDGED = 100;
const PRIMARIES = 3;
/** Even an empty primary exceeds this limit. */
const TOO_LITTLE_MEMORY = '1mb';
/** Keys of a bucket that operations, viewers or both need: docs/redis-keys.md. */
const NEEDED_KEYS = ['', ':producers', ':viewers', ':publish_after', ':publish_due', ':posts:0', ':marks:2:'];
/** A session's mark is in one of these chunks. */
const MARK_CHUNKS = 8;
/** Replaces a key by a string, and keeps the original under another name. */
const REPLACE = `
  if redis.call('EXISTS', KEYS[1]) == 1 then redis.call('RENAME', KEYS[1], KEYS[2]) end
  redis.call('SET', KEYS[1], 'not what it should be')`;
const RESTORE = `
  redis.call('DEL', KEYS[1])
  if redis.call('EXISTS', KEYS[2]) == 1 then redis.call('RENAME', KEYS[2], KEYS[1]) end`;

/** Operations are rejected after 5 s. A fault on a slow machine takes longer, so the gateways wait longer. */
const TIME_SCALE = 3;

describe(`two gateways on a cluster, with ACK=replicated (TEST_SEED=${SEED})`, () => {
  const random = new Random(SEED);
  let cluster: RedisCluster;
  let urls: string[];
  /** URLs of two more gateways, which reject operations after 5 s. */
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
    `two gateways count exactly while ${MOVES} slots move under load`,
    async () => {
      const load = new GatewaysUnderLoad(urls, buildPosts(BUCKETS, 'moved'), SOCKETS, random);
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
      expect(load.errors).toEqual({ rejections: 0, disconnects: 0 });
    },
    LIMIT_MS,
  );

  it(
    `two gateways count exactly when a primary is killed and its replica promoted, ${KILLS} times`,
    async () => {
      const load = new GatewaysUnderLoad(urls, buildPosts(BUCKETS, 'killed'), SOCKETS, random);
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
        expect({ round, ...load.errors }).toEqual({ round, rejections: 0, disconnects: 0 });
        await untilInSync(old, await cluster.findPrimary(slot));
      }
    },
    LIMIT_MS,
  );

  it(
    `two gateways reject nothing when all scripts are flushed, ${FLUSHES} times`,
    async () => {
      const load = new GatewaysUnderLoad(urls, buildPosts(BUCKETS, 'flushed'), SOCKETS, random);
      load.crowd.act();
      for (let flush = 0; flush < FLUSHES; flush++) {
        await load.crowd.untilAcknowledgements(ACKNOWLEDGED);
        await Promise.all(cluster.nodes.map((node) => withClient(node, (client) => client.script('FLUSH'))));
      }
      await load.crowd.untilAcknowledgements(ACKNOWLEDGED);
      await load.expectExact({});
      expect(load.errors).toEqual({ rejections: 0, disconnects: 0 });
    },
    LIMIT_MS,
  );

  it(
    `only operations of a primary that is out of memory wait for it, ${OUT_OF_MEMORY} times`,
    async () => {
      const full = await cluster.findPrimary(slotOfBucket(0));
      const concerned = await findBuckets(full);
      const others = BUCKETS.filter((bucket) => !concerned.includes(bucket));
      const [waiting, unaffected] = [concerned, others].map((buckets, i) => {
        return new GatewaysUnderLoad(urls, buildPosts(buckets, `memory-${i}`), SOCKETS / 2, random);
      }) as [GatewaysUnderLoad, GatewaysUnderLoad];
      const retries = async (url: string): Promise<number> => await readMetric(url, 'tallycast_commit_retries_total');
      for (let round = 1; round <= OUT_OF_MEMORY; round++) {
        for (const { crowd } of [waiting, unaffected]) crowd.act();
        await waiting.crowd.untilAcknowledgements(ACKNOWLEDGED);
        const before = await Promise.all(urls.map(retries));
        await withClient(full, (client) => client.config('SET', 'maxmemory', TOO_LITTLE_MEMORY));
        await until(async () => {
          const after = await Promise.all(urls.map(retries));
          return after.every((count, i) => count > before[i]!);
        }, 'both gateways have a rejected commit');
        await unaffected.crowd.untilAcknowledgements(ACKNOWLEDGED * 5);
        await unaffected.expectExact({ round });
        await withClient(full, (client) => client.config('SET', 'maxmemory', '0'));
        await waiting.crowd.untilAcknowledgements(ACKNOWLEDGED);
        await waiting.expectExact({ round });
      }
      for (const { errors } of [waiting, unaffected]) expect(errors).toEqual({ rejections: 0, disconnects: 0 });
    },
    LIMIT_MS,
  );

  it('operations of buckets with keys of a wrong type get UNAVAILABLE, and are counted once the keys are restored', async () => {
    const broken = shuffle(BUCKETS, random).slice(0, NEEDED_KEYS.length);
    const posts = buildPosts(broken, 'broken');
    const otherPosts = buildPosts(
      BUCKETS.filter((bucket) => !broken.includes(bucket)),
      'others',
    );
    const load = new GatewaysUnderLoad(promptUrls, otherPosts, SOCKETS, random);
    const watching = new GatewaysUnderLoad(promptUrls, posts, 0, random);
    const clients = posts.flatMap((_, i) =>
      promptUrls.map((url, j) => new LedgerClient(url, `viewer-${i}-${j}`, FAST_RECONNECT)),
    );
    const view = (): void => clients.forEach((client, i) => client.act({ event: 'view', post: posts[i >> 1]! }));
    await Promise.all(watching.viewers.map((viewer) => viewer.untilSubscribed()));
    view();
    await Promise.all(clients.map((client) => client.untilAcknowledged()));
    load.crowd.act();

    const client = cluster.client();
    const keys = NEEDED_KEYS.flatMap((suffix, i) => {
      const chunks = suffix.endsWith(':') ? Array.from({ length: MARK_CHUNKS }, (_, chunk) => chunk) : [''];
      return chunks.map((chunk) => `tc:{${broken[i]!}}${suffix}${chunk}`);
    });
    for (const key of keys) await client.eval(REPLACE, 2, key, `${key}:aside`);
    view();
    await until(() => clients.every(({ rejections }) => rejections > 0), 'every client has a rejection');
    await load.crowd.untilAcknowledgements(ACKNOWLEDGED);
    await load.expectExact({});
    expect(load.errors).toEqual({ rejections: 0, disconnects: 0 });
    for (const url of promptUrls) {
      const metrics = await readMetrics(url);
      expect(countOperations(metrics, 'UNAVAILABLE')).toBeGreaterThanOrEqual(posts.length);
    }

    for (const key of keys) await client.eval(RESTORE, 2, key, `${key}:aside`);
    await Promise.all(clients.map((client) => client.untilAcknowledged()));
    const sent = sumLedgers(
      clients.map(({ sent }) => sent),
      posts,
    );
    for (const url of promptUrls) expect(await readTotals(url, posts)).toEqual(sent);
    await Promise.all(watching.viewers.map((viewer) => viewer.untilShows(sent)));
    expect(watching.viewers.map(({ summed }) => summed)).toEqual(promptUrls.map(() => sent));
    expect(watching.errors.disconnects).toBe(0);
  });

  async function findBuckets(server: RedisServer): Promise<number[]> {
    const owners = await Promise.all(BUCKETS.map((bucket) => cluster.findPrimary(slotOfBucket(bucket))));
    return BUCKETS.filter((bucket) => owners[bucket] === server);
  }
});

/** Builds one post of each bucket. */
function buildPosts(buckets: readonly number[], name: string): string[] {
  return buckets.map((bucket) => {
    for (let i = 0; ; i++) if (bucketOf(`${name}-${i}`, BUCKETS.length) === bucket) return `${name}-${i}`;
  });
}

function slotOfBucket(bucket: number): number {
  return hashSlot(`tc:{${bucket}}`);
}

function shuffle<T>(items: readonly T[], random: Random): T[] {
  return items
    .map((item) => ({ item, order: random.next() }))
    .sort((a, b) => a.order - b.order)
    .map(({ item }) => item);
}

/** CPU of a batch in Redis and in the gateway's process, by the amount of data to look up. */
import process from 'node:process';
import { short, spread } from '../harness/alternate.mjs';
import { measureCpu } from '../harness/cpu.mjs';
import { check } from '../harness/results.mjs';
import { startRedis } from '../harness/servers.mjs';
import { randomOf } from '../workload.mjs';

export const title = 'µs of CPU an operation: a batch through Redis';
/** `operations` in each measurement, created before its clock starts. */
export const options = { operations: 40_000 };

const LIKES = 0;
const VIEWS = 1;
const BUCKETS = 64;
const AT_MS = Date.UTC(2026, 0, 1);
const POSTS = 128;
const PEOPLE = 1_000;
const NOBODY = { actor: null, session: null, seq: 0 };

/** Batches in flight together, and operations in each: over all buckets, over some, and in one. */
const SHAPES = [
  [64, 8],
  [8, 64],
  [1, 500],
];

const random = randomOf(4);
const below = (n) => random() % n;
const key = () => ({ hi: random(), lo: random() });

const people = Array.from({ length: PEOPLE }, () => ({ actor: key(), session: key(), seq: 0 }));
const view = (post, who) => ({ post, metric: VIEWS, kind: 'add', value: 1, actor: null, ...who });
const like = (post, value, actor, who) => ({ post, metric: LIKES, kind: 'set', value, actor, ...who });
const nextSeq = (person) => ({ session: person.session, seq: ++person.seq });
const existing = () => people[below(PEOPLE)];

/** Operations from nothing to look up to every record new. */
const LOADS = [
  ['views without a session', (post) => view(post, NOBODY)],
  ['views, sessions known', (post) => view(post, nextSeq(existing()))],
  [
    'views and likes, sessions and actors known',
    (post, i) => {
      const person = existing();
      return i % 2 === 0 ? view(post, nextSeq(person)) : like(post, below(2), person.actor, nextSeq(person));
    },
  ],
  ['views, every session new', (post) => view(post, { session: key(), seq: 1 })],
  ['likes, every session and actor new', (post) => like(post, 1, key(), { session: key(), seq: 1 })],
];

/** µs of Redis an operation: at 55,000 operations a second half of its core stays idle. */
const REDIS_MICROS_MAX = 9;
const REALISTIC = LOADS[2][0];

export async function run({ rounds, cores, options: { operations }, log }) {
  const rows = [];
  for (const [buckets, size] of SHAPES) {
    for (const [what, operationOf] of LOADS) {
      const measured = [];
      for (let round = 0; round < rounds; round++) {
        measured.push(await measure(operationOf, buckets, size, operations, cores));
      }
      const row = { what, buckets, size };
      for (const figure of ['redis', 'gateway']) row[figure] = spread(measured.map((of) => of[figure]));
      rows.push(row);
      log(`  ${buckets} × ${size}, ${what}: Redis ${short(row.redis.median)}, gateway ${short(row.gateway.median)}`);
    }
  }
  const realistic = rows.find(({ what, buckets }) => what === REALISTIC && buckets === BUCKETS);
  return {
    tables: SHAPES.map(([buckets, size]) => tableOf(buckets, size, rows)),
    checks: [
      check(`Redis, ${BUCKETS} batches of 8, ${REALISTIC}`, realistic.redis.median, { atMost: REDIS_MICROS_MAX }),
    ],
    data: { operations, rows },
  };
}

function tableOf(buckets, size, rows) {
  return {
    title: `${buckets} ${buckets === 1 ? 'batch' : 'batches'} of ${size} in flight together`,
    columns: ['', 'Redis', 'min to max', 'gateway', 'min to max'],
    rows: rows
      .filter((row) => row.buckets === buckets)
      .map(({ what, redis, gateway }) => [what, ...[redis, gateway].flatMap(cellsOf)]),
  };
}

function cellsOf({ median, min, max }) {
  return [short(median), `${short(min)} to ${short(max)}`];
}

/** @returns µs an operation */
async function measure(operationOf, buckets, size, operations, cores) {
  const server = await startRedis(cores.server);
  const { store, postsByBucket } = await openStore(server.url, buckets);
  try {
    const numbers = postsByBucket.map(() => 0);
    const batchesOf = (operationsOf) =>
      postsByBucket.map((posts, bucket) => {
        const batchNumber = ++numbers[bucket];
        const operations = operationsOf(posts, batchNumber);
        return { bucket, producerId: 'bench-01', batchNumber, atMs: AT_MS, operations };
      });
    const commit = (batches) => Promise.all(batches.map((batch) => store.commit(batch)));
    // All sessions and actors exist in every bucket, and each actor likes every second post.
    for (let first = 0; first < PEOPLE; first += 250) {
      const some = people.slice(first, first + 250);
      await commit(batchesOf((posts) => some.map((person) => view(posts[0], nextSeq(person)))));
      for (let i = 0; i < POSTS / buckets; i += 1) {
        const likes = (posts) => some.filter(() => below(2) > 0).map(({ actor }) => like(posts[i], 1, actor, NOBODY));
        await commit(batchesOf(likes));
      }
    }
    const flush = () =>
      batchesOf((posts, n) => Array.from({ length: size }, (_, i) => operationOf(posts[below(posts.length)], n + i)));
    const flushes = Array.from({ length: Math.ceil(operations / (buckets * size)) }, flush);
    const warm = flushes.splice(0, Math.ceil(flushes.length / 5));
    for (const batches of warm) await commit(batches);
    const redis = measureCpu([server.pid], cores.server);
    const gateway = measureCpu([process.pid], cores.load);
    for (const batches of flushes) await commit(batches);
    const count = flushes.length * buckets * size;
    return { redis: redis().micros / count, gateway: gateway().micros / count };
  } finally {
    await store.close();
    await server.end();
  }
}

/** Opens the built store, and makes posts: the same number in each of the first buckets. */
async function openStore(url, buckets) {
  const from = (path) => import(`../../build/${path}.js`);
  const { systemClock: clock } = await from('common/clock');
  const { bucketOf } = await from('counters/bucket-of');
  const { Metrics } = await from('counters/metrics');
  const { RedisClient } = await from('store/redis/client/redis-client');
  const { parseRedisUrl } = await from('config/redis-url');
  const { RedisStore } = await from('store/redis/redis-store');
  const connections = await RedisClient.open(parseRedisUrl(url), {
    clock,
    replicated: false,
    warn: () => undefined,
  });
  const metrics = Metrics.parse('likes:toggle,views:tally');
  const about = { metrics, buckets: BUCKETS, actorKeys: 'hash', region: 'local', gateway: 'bench-01' };
  const data = { ...about, hasPeers: false, publishIntervalMs: 50, nonce: () => 1, wallMs: () => Date.now() };
  const store = await RedisStore.open(connections, clock, data);
  const postsByBucket = Array.from({ length: buckets }, () => []);
  for (let id = 10_000_000; postsByBucket.some(({ length }) => length < POSTS / buckets); id++) {
    const posts = postsByBucket[bucketOf(String(id), BUCKETS)];
    if (posts !== undefined && posts.length < POSTS / buckets) posts.push(String(id));
  }
  return { store, postsByBucket };
}

/** CPU of a batch in Redis and in the gateway's process, by the amount of data to look up. */
import process from 'node:process';
import { alternate, short, spread } from '../harness/alternate.mjs';
import { measureCpu } from '../harness/cpu.mjs';
import { check, tableOf } from '../harness/results.mjs';
import { startRedis } from '../harness/servers.mjs';
import { randomOf } from '../workload.mjs';

export const title = 'µs of CPU an operation: a batch through Redis';
/** `operations` in each measurement, created before its clock starts. */
export const options = { operations: 40_000 };

const LIKES = 0;
const VIEWS = 1;
const READS = 2;
const YES = 3;
const METRICS = 'likes:toggle,views:tally,reads:unique@30m,yes:choice@vote,no:choice@vote';
const BUCKETS = 64;
const AT_MS = Date.UTC(2026, 0, 1);
const POSTS = 128;
const PEOPLE = 1_000;
/** So few that most of their visits are not the first ones of a post. */
const READERS = 20;
/** Changed posts of a bucket that a copy without members reads at once. */
const PAGE = { limit: 500, withMembers: false };
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
const visit = (post, actor) => ({ post, metric: READS, kind: 'visit', value: 1, ...NOBODY, actor, atS: AT_MS / 1_000 });
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
  ['visits within their windows', (post) => visit(post, people[below(READERS)].actor)],
  ['visits, every actor new', (post) => visit(post, key())],
  ['votes, one of two options', (post) => ({ ...like(post, 1, existing().actor, NOBODY), metric: YES + below(2) })],
];

/**
 * Batches of which each operation changes another post, with and without a record of changed posts. A copy collects them once a second,
 * which is about this many flushes at 50,000 operations a second, or, at worst, after each flush.
 */
const RECORDED = [
  { name: 'not recorded', collectEvery: 0 },
  { name: 'recorded, collected each second', collectEvery: 100 },
  { name: 'recorded, collected after each flush', collectEvery: 1 },
];
const RECORDED_SIZE = 8;
/** Redis's CPU for recorded operations, divided by that for operations that are not recorded. */
const RECORDED_RATIO_MAX = 1.1;

/** µs of Redis an operation: at 55,000 operations a second half of its core stays idle. */
const REDIS_MICROS_MAX = 9;
const REALISTIC = LOADS[2][0];

export async function run({ rounds, cores, options: { operations }, log }) {
  const rows = [];
  for (const [buckets, size] of SHAPES) {
    for (const [what, operationOf] of LOADS) {
      const measured = [];
      for (let round = 0; round < rounds; round++) {
        const load = { operationOf, buckets, size, posts: POSTS / buckets, pick: pickRandomly, collectEvery: 0 };
        measured.push(await measure(load, operations, cores));
      }
      const row = { what, buckets, size };
      for (const figure of ['redis', 'gateway']) row[figure] = spread(measured.map((of) => of[figure]));
      rows.push(row);
      log(`  ${buckets} × ${size}, ${what}: Redis ${short(row.redis.median)}, gateway ${short(row.gateway.median)}`);
    }
  }
  const realistic = rows.find(({ what, buckets }) => what === REALISTIC && buckets === BUCKETS);
  const recorded = await measureRecorded({ rounds, cores, operations, log });
  const { redis } = recorded.ratios[RECORDED[1].name];
  const heading = `${BUCKETS} batches of ${RECORDED_SIZE}, each operation on another post, ${REALISTIC}`;
  return {
    tables: [
      ...SHAPES.map(([buckets, size]) => tableOfShape(buckets, size, rows)),
      tableOf(heading, recorded, { redis: 'Redis', gateway: 'gateway' }),
    ],
    checks: [
      check(`Redis, ${BUCKETS} batches of 8, ${REALISTIC}`, realistic.redis.median, { atMost: REDIS_MICROS_MAX }),
      check(`Redis, ${RECORDED[1].name} / ${RECORDED[0].name}`, redis.median, { atMost: RECORDED_RATIO_MAX }),
    ],
    data: { operations, rows, recorded },
  };
}

function measureRecorded({ rounds, cores, operations, log }) {
  const [, operationOf] = LOADS[2];
  const candidates = RECORDED.map(({ name, collectEvery }) => {
    const shape = { buckets: BUCKETS, size: RECORDED_SIZE, posts: RECORDED_SIZE };
    const load = { operationOf, ...shape, pick: (posts, i) => posts[i], collectEvery };
    return { name, measure: () => measure(load, operations, cores) };
  });
  return alternate(candidates, { rounds, baseline: RECORDED[0].name, log });
}

function tableOfShape(buckets, size, rows) {
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

function pickRandomly(posts) {
  return posts[below(posts.length)];
}

/** @returns µs an operation */
async function measure({ operationOf, buckets, size, posts, pick, collectEvery }, operations, cores) {
  const server = await startRedis(cores.server);
  const { store, postsByBucket } = await openStore(server.url, buckets, posts);
  try {
    const batchesOf = numberBatches(postsByBucket);
    const commit = (batches) => Promise.all(batches.map((batch) => store.commit(batch)));
    await createData(posts, batchesOf, commit);
    const flush = () => batchesOf((own, n) => Array.from({ length: size }, (_, i) => operationOf(pick(own, i), n + i)));
    const flushes = Array.from({ length: Math.ceil(operations / (buckets * size)) }, flush);
    const warm = flushes.splice(0, Math.ceil(flushes.length / 5));
    const collect = startCollecting(store, buckets);
    if (collectEvery > 0) await collect();
    for (const batches of warm) await commit(batches);
    const redis = measureCpu([server.pid], cores.server);
    const gateway = measureCpu([process.pid], cores.load);
    for (const [i, batches] of flushes.entries()) {
      await commit(batches);
      if (collectEvery > 0 && i % collectEvery === 0) await collect();
    }
    const count = flushes.length * buckets * size;
    return { redis: redis().micros / count, gateway: gateway().micros / count };
  } finally {
    await store.close();
    await server.end();
  }
}

/** @returns a function that builds the next batch of each bucket from its posts and the batch's number */
function numberBatches(postsByBucket) {
  const numbers = postsByBucket.map(() => 0);
  return (operationsOf) =>
    postsByBucket.map((posts, bucket) => {
      const batchNumber = ++numbers[bucket];
      const operations = operationsOf(posts, batchNumber);
      return { bucket, producerId: 'bench-01', batchNumber, atMs: AT_MS, operations };
    });
}

/** Makes all sessions and actors exist in every bucket, and each actor like every second post. */
async function createData(posts, batchesOf, commit) {
  for (let first = 0; first < PEOPLE; first += 250) {
    const some = people.slice(first, first + 250);
    await commit(batchesOf((own) => some.map((person) => view(own[0], nextSeq(person)))));
    for (let i = 0; i < posts; i += 1) {
      const likes = (own) => some.filter(() => below(2) > 0).map(({ actor }) => like(own[i], 1, actor, NOBODY));
      await commit(batchesOf(likes));
    }
  }
}

/** @returns a function that reads what has changed since its last call, as a copy in another system does */
function startCollecting(store, buckets) {
  const after = Array.from({ length: buckets }, () => 0);
  return async () => {
    const requests = after.map((seq, bucket) => ({ bucket, after: seq }));
    for (const { bucket, upTo } of await store.changeStore.changesSince(requests, PAGE)) after[bucket] = upTo;
  };
}

/** Opens the built store, and makes posts: the same number in each of the first buckets. */
async function openStore(url, buckets, postsABucket) {
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
  const metrics = Metrics.parse(METRICS);
  const about = { metrics, buckets: BUCKETS, actorKeys: 'hash', region: 'local', gateway: 'bench-01' };
  const data = {
    ...about,
    hasPeers: false,
    peers: [],
    publishIntervalMs: 50,
    nonce: () => 1,
    wallMs: () => Date.now(),
  };
  const store = await RedisStore.open(connections, clock, data);
  const postsByBucket = Array.from({ length: buckets }, () => []);
  for (let id = 10_000_000; postsByBucket.some(({ length }) => length < postsABucket); id++) {
    const posts = postsByBucket[bucketOf(String(id), BUCKETS)];
    if (posts !== undefined && posts.length < postsABucket) posts.push(String(id));
  }
  return { store, postsByBucket };
}

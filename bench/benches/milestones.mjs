/**
 * Measures the cost of milestones in a batch through Redis. All candidates commit to one server in short turns, so
 * that other load on the machine affects them alike.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import process from 'node:process';
import { short, spread } from '../harness/alternate.mjs';
import { check } from '../harness/results.mjs';
import { ROOT, startRedis } from '../harness/servers.mjs';
import { randomOf } from '../workload.mjs';

export const title = 'µs of CPU an operation: a batch through Redis, with and without milestones';
/**
 * `before`: the folder of a built checkout of an earlier version, to be compared with; `turns`: of each candidate in a round; `flushes`: calls
 * that a candidate makes in a turn.
 */
export const options = { before: '', turns: 150, flushes: 10 };

const LIKES = 0;
const VIEWS = 1;
const METRICS = 'likes:toggle,views:tally,reads:unique@30m,yes:choice@vote,no:choice@vote';
const BUCKETS = 64;
const AT_MS = Date.UTC(2026, 0, 1);
/** Posts of a bucket of which each batch changes all but the last one. */
const POSTS = 9;
const SIZE = POSTS - 1;
const PEOPLE = 500;
/** Out of reach. */
const ARMED_AT = Number.MAX_SAFE_INTEGER;
/** Batches of one call. */
const SHAPES = [16, 1];

const EARLIER = 'an earlier version';
const WITHOUT = 'no milestone in the bucket';
const ELSEWHERE = 'one armed on another post';
const ARMED = 'one armed on a post of each batch';
/** Which post of each bucket has a milestone. */
const CANDIDATES = [
  { name: WITHOUT, armed: null },
  { name: ELSEWHERE, armed: POSTS - 1 },
  { name: ARMED, armed: 0 },
];
/** Less than two runs of this bench differ by. */
const WITHOUT_RATIO_MAX = 1.01;
const ARMED_RATIO_MAX = 1.02;

const random = randomOf(4);
const below = (n) => random() % n;
const key = () => ({ hi: random(), lo: random() });
const people = Array.from({ length: PEOPLE }, () => ({ actor: key(), session: key(), seq: 0 }));

export async function run({ rounds, cores, options: { before, turns, flushes }, log }) {
  const earlier = before === '' ? [] : [{ name: EARLIER, armed: null, folder: before }];
  const candidates = [...earlier, ...CANDIDATES.map((one) => ({ ...one, folder: ROOT }))];
  const [{ name: baseline }] = candidates;
  const shapes = [];
  for (const batches of SHAPES) {
    const measured = [];
    for (let round = 0; round < rounds; round++) {
      const figures = await measureRound({ candidates, round, batches, turns, flushes, core: cores.server });
      measured.push(figures);
      const line = candidates.map(({ name }) => `${name} ${short(figures[name].redis)}`).join(', ');
      log(`  ${batches} × ${SIZE}, round ${round + 1} of ${rounds}: ${line}`);
    }
    shapes.push({ batches, ...summarise(candidates, measured, baseline) });
  }
  return {
    tables: shapes.map((shape) => tableOfShape(shape, baseline)),
    checks: shapes.flatMap(checksOf),
    data: { shapes },
  };
}

function summarise(candidates, measured, baseline) {
  const names = candidates.map(({ name }) => name);
  const by = (valueOf) =>
    Object.fromEntries(names.map((name) => [name, spread(measured.map((of) => valueOf(of, name)))]));
  return {
    redis: by((of, name) => of[name].redis),
    gateway: by((of, name) => of[name].gateway),
    ratio: by((of, name) => of[name].redis / of[baseline].redis),
    /** Divided by the candidate without milestones in the same version. */
    armedRatio: by((of, name) => of[name].redis / of[WITHOUT].redis),
  };
}

function tableOfShape({ batches, redis, gateway, ratio }, baseline) {
  return {
    title: `${batches} ${batches === 1 ? 'batch' : 'batches'} of ${SIZE} a call, each operation on another post`,
    columns: ['', 'Redis', 'min to max', 'gateway', `Redis of ${baseline}`, 'min to max'],
    rows: Object.keys(redis).map((name) => [
      name,
      short(redis[name].median),
      `${short(redis[name].min)} to ${short(redis[name].max)}`,
      short(gateway[name].median),
      name === baseline ? '1' : ratio[name].median.toFixed(3),
      name === baseline ? '' : `${ratio[name].min.toFixed(3)} to ${ratio[name].max.toFixed(3)}`,
    ]),
  };
}

function checksOf({ batches, ratio, armedRatio }) {
  const about = `${batches} of ${SIZE}`;
  const checks = [check(`${about}: ${ARMED} / ${WITHOUT}`, armedRatio[ARMED].median, { atMost: ARMED_RATIO_MAX })];
  if (EARLIER in ratio) {
    checks.unshift(check(`${about}: ${WITHOUT} / ${EARLIER}`, ratio[WITHOUT].median, { atMost: WITHOUT_RATIO_MAX }));
  }
  return checks;
}

/** @returns µs an operation of Redis and of this process, by candidate */
async function measureRound({ candidates, round, batches, turns, flushes, core }) {
  const server = await startRedis(core);
  const opened = [];
  try {
    for (const [i, candidate] of candidates.entries()) {
      // Each round another candidate has a range of buckets, so that none has the better ones.
      const range = (i + round) % candidates.length;
      opened.push(await openCandidate(server.url, candidate, range * batches, batches));
    }
    for (let turn = -Math.ceil(turns / 5); turn < turns; turn++) {
      for (let i = 0; i < opened.length; i++) {
        await takeTurn(opened[(i + Math.abs(turn)) % opened.length], server.pid, flushes, turn >= 0);
      }
    }
    const operations = turns * flushes * batches * SIZE;
    return Object.fromEntries(
      opened.map(({ name, redis, gateway }) => [name, { redis: redis / operations, gateway: gateway / operations }]),
    );
  } finally {
    await Promise.all(opened.map(({ store }) => store.close()));
    await server.end();
  }
}

async function takeTurn(candidate, pid, flushes, isMeasured) {
  const calls = Array.from({ length: flushes }, () => candidate.nextBatches());
  const redis = ranMicros(pid);
  const gateway = process.cpuUsage();
  for (const batches of calls) await Promise.all(batches.map((batch) => candidate.store.commit(batch)));
  const { user, system } = process.cpuUsage(gateway);
  if (!isMeasured) return;
  candidate.redis += ranMicros(pid) - redis;
  candidate.gateway += user + system;
}

/** CPU of a process's first thread, µs. It is exact while the thread waits, as Redis does between two turns. */
function ranMicros(pid) {
  return Number(readFileSync(`/proc/${pid}/schedstat`, 'utf8').split(' ', 1)[0]) / 1e3;
}

async function openCandidate(url, { name, armed, folder }, firstBucket, batches) {
  const { store, bucketOf } = await openStore(url, folder);
  const buckets = Array.from({ length: batches }, (_, i) => ({ bucket: firstBucket + i, posts: [], batchNumber: 0 }));
  for (let id = 10_000_000; buckets.some(({ posts }) => posts.length < POSTS); id++) {
    const posts = buckets[bucketOf(String(id), BUCKETS) - firstBucket]?.posts;
    if (posts !== undefined && posts.length < POSTS) posts.push(String(id));
  }
  const batchOf = (one, operations) => {
    one.batchNumber += 1;
    return { bucket: one.bucket, producerId: 'bench-01', batchNumber: one.batchNumber, atMs: AT_MS, operations };
  };
  const operationOf = (post, i) => {
    const { actor, session } = people[below(PEOPLE)];
    const about = { post, session, seq: ++seqOf };
    if (i % 2 === 0) return { ...about, metric: VIEWS, kind: 'add', value: 1, actor: null };
    return { ...about, metric: LIKES, kind: 'set', value: below(2), actor };
  };
  let seqOf = 0;
  const nextBatches = () => buckets.map((one) => batchOf(one, one.posts.slice(0, SIZE).map(operationOf)));
  // All sessions, and about half of the likes, are there before the clock starts.
  for (const one of buckets) {
    const firsts = people.flatMap(({ actor, session }) =>
      one.posts.map((post, i) =>
        i % 2 === 0
          ? { post, metric: VIEWS, kind: 'add', value: 1, actor: null, session, seq: ++seqOf }
          : { post, metric: LIKES, kind: 'set', value: below(2), actor, session, seq: ++seqOf },
      ),
    );
    for (let i = 0; i < firsts.length; i += 500) await store.commit(batchOf(one, firsts.slice(i, i + 500)));
    if (armed !== null) await store.milestones.arm(one.posts[armed], VIEWS, ARMED_AT);
  }
  return { name, store, nextBatches, redis: 0, gateway: 0 };
}

/** Opens the built store of a checkout. */
async function openStore(url, folder) {
  const from = (path) => import(pathToFileURL(join(folder, 'build', `${path}.js`)).href);
  const { systemClock: clock } = await from('common/clock');
  const { bucketOf } = await from('counters/bucket-of');
  const { Metrics } = await from('counters/metrics');
  const { RedisClient } = await from('store/redis/client/redis-client');
  const { parseRedisUrl } = await from('config/redis-url');
  const { RedisStore } = await from('store/redis/redis-store');
  const warn = () => undefined;
  const connections = await RedisClient.open(parseRedisUrl(url), { clock, replicated: false, warn });
  const about = {
    metrics: Metrics.parse(METRICS),
    buckets: BUCKETS,
    actorKeys: 'hash',
    region: 'local',
    gateway: 'bench-01',
  };
  const data = {
    ...about,
    hasPeers: false,
    peers: [],
    publishIntervalMs: 50,
    nonce: () => 1,
    wallMs: () => Date.now(),
  };
  return { store: await RedisStore.open(connections, clock, data), bucketOf };
}

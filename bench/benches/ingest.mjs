/** Acknowledged, committed operations a second of a gateway on one core, and the cost of each. */
import { startActing, wrongTotals } from '../acting/acting.mjs';
import { alternate, spread } from '../harness/alternate.mjs';
import { measureCpu } from '../harness/cpu.mjs';
import { check, tableOf } from '../harness/results.mjs';
import { startGateway, startPeer, startRedis } from '../harness/servers.mjs';

export const title = 'acknowledged likes and views a second, beside echoes that count nothing and the tutorial';
/** `warmup`: seconds before each measurement. `only`: names of candidates to measure, comma-separated. */
export const options = { warmup: 3, posts: 1_000, only: '' };

const ECHO = 'socket.io echo';
const PATTERNS = [
  { title: '1,000 connections with 1 operation in flight each', connections: 1_000, window: 1 },
  { title: '200 connections with 8 in flight each', connections: 200, window: 8 },
];
const ECHO_RATIO_MIN = 0.85;
const TUTORIAL_RATIO_MIN = 2;

const CANDIDATES = {
  [ECHO]: (core) => startPeer('echo-socket-io.mjs', {}, core),
  'ws echo': (core) => startPeer('echo-ws.mjs', {}, core),
  'tallycast embedded': (core) => startGateway({}, core),
  'tallycast Redis': (core, redis) => startGateway({ REDIS_URL: redis.url }, core),
  'tallycast Redis everysec': (core, redis) => startGateway({ REDIS_URL: redis.url }, core),
  tutorial: (core, redis) => startPeer('tutorial.mjs', { REDIS_URL: redis.url }, core),
  'tutorial and adapter': (core, redis) => startPeer('tutorial.mjs', { REDIS_URL: redis.url, ADAPTER: 'redis' }, core),
};
const OVER_REDIS = /Redis|tutorial/;

export async function run(context) {
  const candidates = [];
  for (const name of chosen(context.options.only)) candidates.push(await startCandidate(name, context.cores));
  const found = [];
  for (const pattern of PATTERNS) {
    context.log(pattern.title);
    const result = await alternate(
      candidates.map((candidate) => ({ name: candidate.name, measure: () => measure(candidate, pattern, context) })),
      { rounds: context.rounds, baseline: ECHO, log: context.log },
    );
    found.push({ pattern, result });
  }
  return {
    tables: found.map(({ pattern, result }) => table(pattern, result)),
    checks: found.flatMap(({ pattern, result }) => checks(pattern, result)),
    flags: found.flatMap(({ result }) => result.flags),
    data: { patterns: found },
  };
}

function chosen(only) {
  const names = Object.keys(CANDIDATES);
  return only === '' ? names : names.filter((name) => name === ECHO || String(only).split(',').includes(name));
}

async function startCandidate(name, cores) {
  const redis = OVER_REDIS.test(name) ? await startRedis(cores.load, name.includes('everysec')) : null;
  return { name, redis, server: await CANDIDATES[name](cores.server, redis) };
}

async function measure(
  { name, server, redis },
  { connections, window },
  { cores, seconds, options: { warmup, posts } },
) {
  const pids = [server.pid, ...(redis === null ? [] : [redis.pid])];
  const load = { core: cores.load, port: server.port, pids, connections, window, warmup, seconds, posts };
  const acting = startActing({ ...load, raw: name === 'ws echo' ? 1 : 0 });
  await acting.measuring();
  const cpu = measureCpu(server.pids, cores.server);
  const found = await acting.result();
  const { share, coreShare } = cpu();
  const [serverMicros, redisMicros = 0] = found.micros;
  return {
    operationsPerSecond: found.operationsPerSecond,
    serverMicros,
    redisMicros,
    loadMicros: found.loadMicros,
    p99Ms: found.latencyMs.p99,
    serverCoreShare: (found.operationsPerSecond * serverMicros) / 1e6,
    loadCoreShare: (found.operationsPerSecond * (redisMicros + found.loadMicros)) / 1e6,
    // Computed from the core, because the first thread also waits for the process's store and collector threads.
    serverWaitShare: Math.max(0, coreShare - share),
    refused: Object.values(found.errors).reduce((sum, count) => sum + count, found.unanswered),
    wrongTotals: name.startsWith('tallycast') ? await wrongTotals(server, found) : 0,
  };
}

function table({ title: heading }, result) {
  return tableOf(heading, result, {
    operationsPerSecond: 'operations/s',
    serverMicros: 'server µs each',
    redisMicros: 'Redis µs each',
    loadMicros: 'load µs each',
    p99Ms: 'p99 ms',
    loadCoreShare: 'load core',
  });
}

/** Checks the rate, and the rate by CPU of the server's process, which excludes Redis. */
function checks({ title: heading }, { figures, ratios, rounds }) {
  const found = [];
  for (const [name, of] of Object.entries(figures).filter(([candidate]) => candidate.startsWith('tallycast'))) {
    found.push(
      check(`${heading}: ${name}, rate of the echo`, ratios[name].operationsPerSecond.median, {
        atLeast: ECHO_RATIO_MIN,
      }),
      check(`${heading}: ${name}, rate of the echo by server CPU`, 1 / ratios[name].serverMicros.median, {
        atLeast: ECHO_RATIO_MIN,
      }),
      check(`${heading}: ${name}, posts with wrong totals`, of.wrongTotals.max, { atMost: 0 }),
      check(`${heading}: ${name}, refused or unanswered`, of.refused.max, { atMost: 0 }),
    );
    const beside = rounds.filter((round) => round.tutorial !== undefined);
    if (!name.includes('Redis') || beside.length === 0) continue;
    const rate = spread(beside.map((round) => round[name].operationsPerSecond / round.tutorial.operationsPerSecond));
    const cpu = spread(beside.map((round) => round.tutorial.serverMicros / round[name].serverMicros));
    found.push(
      check(`${heading}: ${name}, rate of the tutorial`, rate.median, { atLeast: TUTORIAL_RATIO_MIN }),
      check(`${heading}: ${name}, rate of the tutorial by server CPU`, cpu.median, { atLeast: TUTORIAL_RATIO_MIN }),
    );
  }
  return found;
}

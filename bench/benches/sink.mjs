/** Costs of a copy in PostgreSQL: operations with and without, and posts a second after an outage. */
import { setTimeout as pause } from 'node:timers/promises';
import { URL } from 'node:url';
import { startActing, wrongTotals } from '../acting/acting.mjs';
import { alternate } from '../harness/alternate.mjs';
import { startPostgres } from '../harness/postgres.mjs';
import { temporaryDirectory } from '../harness/processes.mjs';
import { check, tableOf } from '../harness/results.mjs';
import { startGateway, startRedis } from '../harness/servers.mjs';
import { BUCKETS, commitAll, growingIds, twoOfEach } from '../workload.mjs';

export const title = 'what a copy in PostgreSQL costs an operation; posts a second after an outage';
/** `rate`: operations a second. `behind`: posts that changed during the outage. */
export const options = { warmup: 3, posts: 10_000, rate: 8_000, behind: 1_000_000 };

const COST_MAX = 1.1;
const POSTS_A_SECOND_MIN = 10_000;
const STORES = ['embedded', 'Redis'];

export async function run(context) {
  const { log, rounds, cores } = context;
  const postgres = await startPostgres(cores.load);
  const names = STORES.flatMap((store) => [store, `${store} and PostgreSQL`]);
  const result = await alternate(
    names.map((name) => ({ name, measure: () => measureRate(name, postgres, context) })),
    { rounds, baseline: 'embedded', log },
  );
  const caughtUp = await measureOutage(postgres.createDatabase(), context.options.behind);
  await postgres.end();
  const columns = { operationsPerSecond: 'operations/s', serverMicros: 'server µs each', redisMicros: 'Redis µs each' };
  const cost = (store, figure) =>
    median(result.rounds.map((round) => round[`${store} and PostgreSQL`][figure] / round[store][figure]));
  return {
    tables: [tableOf('at the same rate; PostgreSQL on the core of the load', result, columns)],
    checks: [
      ...STORES.map((store) =>
        check(`${store}: CPU of the gateway, of that without a copy`, cost(store, 'serverMicros'), {
          atMost: COST_MAX,
        }),
      ),
      check('Redis: its own CPU, of that without a copy', cost('Redis', 'redisMicros'), { atMost: COST_MAX }),
      check('posts a second after an outage', caughtUp.postsPerSecond, { atLeast: POSTS_A_SECOND_MIN }),
      check('posts with wrong totals', Math.max(...Object.values(result.figures).map((of) => of.wrongTotals.max)), {
        atMost: 0,
      }),
    ],
    flags: result.flags,
    data: { ...result, caughtUp },
  };
}

async function measureRate(name, postgres, { cores, seconds, options: { warmup, posts, rate } }) {
  const redis = name.startsWith('Redis') ? await startRedis(cores.load) : null;
  const env = {
    ...(redis !== null && { REDIS_URL: redis.url }),
    ...(name.endsWith('PostgreSQL') && { SINK_URL: postgres.createDatabase() }),
  };
  const server = await startGateway(env, cores.server);
  try {
    const pids = [server.pid, ...(redis === null ? [] : [redis.pid])];
    const load = { core: cores.load, port: server.port, pids, connections: 1_000, window: 64 };
    const found = await startActing({ ...load, rate, warmup, seconds, posts }).result();
    const [serverMicros, redisMicros = 0] = found.micros;
    const { operationsPerSecond } = found;
    return { operationsPerSecond, serverMicros, redisMicros, wrongTotals: await wrongTotals(server, found) };
  } finally {
    await Promise.all([server, ...(redis === null ? [] : [redis])].map((one) => one.end()));
  }
}

/** Copies a store that changed while PostgreSQL was down, from the first cycle until it has everything. */
async function measureOutage(url, posts) {
  const from = (path) => import(`../../build/${path}.js`);
  const { systemClock: clock } = await from('common/clock');
  const { Metrics } = await from('counters/metrics');
  const { EmbeddedStore } = await from('store/embedded/embedded-store');
  const { PostgresSink } = await from('sinks/postgres/postgres-sink');
  const { Feeder } = await from('sinks/feeder');
  const metrics = Metrics.parse('likes:toggle,views:tally');
  const about = { buckets: BUCKETS, metrics, region: 'local' };
  const store = new EmbeddedStore({ ...about, path: temporaryDirectory(), actorKeys: 'hash', nonce: () => 1 });
  await commitAll(store, twoOfEach(growingIds(posts)), 1_000);
  const warn = (message) => console.log(message);
  const sink = new PostgresSink({ ...about, url: new URL(url), clock, warn });
  const feeder = new Feeder(
    store.changeStore,
    sink,
    { isHeld: true, term: 1 },
    { ...about, intervalMs: 1_000, clock, random: Math.random, warn },
  );
  const startedAt = performance.now();
  feeder.start();
  while (feeder.status.postsWritten < posts || !feeder.status.isUp) await pause(50);
  const seconds = (performance.now() - startedAt) / 1_000;
  await feeder.close();
  await store.close();
  return { posts, seconds, postsPerSecond: posts / seconds };
}

function median(numbers) {
  const sorted = [...numbers].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)];
}

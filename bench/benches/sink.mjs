/** Costs of a copy in PostgreSQL: operations with and without. */
import { startActing, wrongTotals } from '../acting/acting.mjs';
import { alternate } from '../harness/alternate.mjs';
import { startPostgres } from '../harness/postgres.mjs';
import { check, tableOf } from '../harness/results.mjs';
import { startGateway, startRedis } from '../harness/servers.mjs';

export const title = 'what a copy in PostgreSQL costs an operation';
/** `rate`: operations a second. */
export const options = { warmup: 3, posts: 10_000, rate: 8_000 };

const COST_MAX = 1.1;
const STORES = ['embedded', 'Redis'];
const COPIES = ['PostgreSQL', 'PostgreSQL with members'];

export async function run(context) {
  const { log, rounds, cores } = context;
  const postgres = await startPostgres(cores.load);
  const names = STORES.flatMap((store) => [store, ...COPIES.map((copy) => `${store} and ${copy}`)]);
  const result = await alternate(
    names.map((name) => ({ name, measure: () => measureRate(name, postgres, context) })),
    { rounds, baseline: 'embedded', log },
  );
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
      check('posts with wrong totals', Math.max(...Object.values(result.figures).map((of) => of.wrongTotals.max)), {
        atMost: 0,
      }),
    ],
    flags: result.flags,
    data: result,
  };
}

async function measureRate(name, postgres, { cores, seconds, options: { warmup, posts, rate } }) {
  const redis = name.startsWith('Redis') ? await startRedis(cores.load) : null;
  const env = {
    ...(redis !== null && { REDIS_URL: redis.url }),
    ...(name.includes('PostgreSQL') && { SINK_URL: postgres.createDatabase() }),
    SINK_MEMBERS: String(name.endsWith('members')),
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

function median(numbers) {
  const sorted = [...numbers].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)];
}

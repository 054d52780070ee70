/** Views a second of a gateway on one core: acknowledged over sockets, and by requests of many events. */
import { startActing, wrongTotals } from '../acting/acting.mjs';
import { send } from '../acting/sending.mjs';
import { alternate, spread } from '../harness/alternate.mjs';
import { measureCpu } from '../harness/cpu.mjs';
import { check, tableOf } from '../harness/results.mjs';
import { startGateway, startRedis } from '../harness/servers.mjs';

export const title = 'views a second by requests of many events, beside acknowledged events of sockets';
/** `warmup`: seconds before each measurement. `connections`: of HTTP. */
export const options = { warmup: 3, posts: 1_000, connections: 64 };

const SOCKETS = 'sockets, 1 in flight';
/** A crowd, of which each views once in a while, and clients that send as fast as they may. */
const ACKNOWLEDGED = {
  [SOCKETS]: { connections: 1_000, window: 1 },
  'sockets, 8 in flight': { connections: 200, window: 8 },
};
const MANY = '100 events a request';
const CANDIDATES = {
  '1 event a request': { events: 1, withSeq: true },
  [MANY]: { events: 100, withSeq: true },
  '100 events without seq': { events: 100, withSeq: false },
  '500 events a request': { events: 500, withSeq: true },
};
/** The target for requests of 100 events. */
const RATIO_MIN = 2;

export async function run(context) {
  const found = [];
  for (const store of ['the embedded store', 'Redis']) {
    context.log(store);
    const redis = store === 'Redis' ? await startRedis(context.cores.load, false) : null;
    const server = await startGateway(redis === null ? {} : { REDIS_URL: redis.url }, context.cores.server);
    const measured = { server, redis, context };
    const candidates = [
      ...Object.entries(ACKNOWLEDGED).map(([name, form]) => ({ name, measure: () => measureSockets(measured, form) })),
      ...Object.entries(CANDIDATES).map(([name, form]) => ({ name, measure: () => measureRequests(measured, form) })),
    ];
    found.push({
      store,
      result: await alternate(candidates, { rounds: context.rounds, baseline: SOCKETS, log: context.log }),
    });
    await server.end();
    await redis?.end();
  }
  return {
    tables: found.map(({ store, result }) => table(store, result)),
    checks: found.flatMap(({ store, result }) => checks(store, result)),
    flags: found.flatMap(({ result }) => result.flags),
    data: { stores: found },
  };
}

async function measureSockets({ server, redis, context }, form) {
  const {
    cores,
    seconds,
    options: { warmup, posts },
  } = context;
  const pids = pidsOf(server, redis);
  const acting = startActing({
    core: cores.load,
    port: server.port,
    pids,
    warmup,
    seconds,
    posts,
    toggles: 0,
    ...form,
  });
  await acting.measuring();
  const cpu = measureCpu(server.pids, cores.server);
  const found = await acting.result();
  const { share, coreShare } = cpu();
  const refused = Object.values(found.errors).reduce((sum, count) => sum + count, found.unanswered);
  return figuresOf({ ...found, refused }, Math.max(0, coreShare - share), await wrongTotals(server, found));
}

async function measureRequests({ server, redis, context }, form) {
  const {
    cores,
    seconds,
    options: { warmup, posts, connections },
  } = context;
  const load = { port: server.port, pids: pidsOf(server, redis), connections, warmup, seconds, posts };
  const cpu = measureCpu(server.pids, cores.server);
  const found = await send({ ...load, ...form });
  const { share, coreShare } = cpu();
  return figuresOf(found, Math.max(0, coreShare - share), await wrongTotals(server, found));
}

function pidsOf(server, redis) {
  return [server.pid, ...(redis === null ? [] : [redis.pid])];
}

function figuresOf({ operationsPerSecond, micros, loadMicros, refused }, serverWaitShare, wrong) {
  const [serverMicros, redisMicros = 0] = micros;
  return {
    operationsPerSecond,
    serverMicros,
    redisMicros,
    loadMicros,
    serverCoreShare: (operationsPerSecond * serverMicros) / 1e6,
    loadCoreShare: (operationsPerSecond * (redisMicros + loadMicros)) / 1e6,
    serverWaitShare,
    refused,
    wrongTotals: wrong,
  };
}

function table(store, result) {
  return tableOf(`One core, ${store}`, result, {
    operationsPerSecond: 'views/s',
    serverMicros: 'server µs each',
    redisMicros: 'Redis µs each',
    loadMicros: 'load µs each',
    serverCoreShare: 'server core',
    loadCoreShare: 'load core',
  });
}

function checks(store, { figures, rounds }) {
  return [
    ...Object.keys(ACKNOWLEDGED).flatMap((sockets) => {
      const ratio = (of) => spread(rounds.map((round) => of(round[MANY], round[sockets]))).median;
      const target = { atLeast: RATIO_MIN };
      return [
        check(
          `${store}: ${MANY} / ${sockets}`,
          ratio((a, b) => a.operationsPerSecond / b.operationsPerSecond),
          target,
        ),
        check(
          `${store}: ${MANY} / ${sockets}, by server CPU`,
          ratio((a, b) => b.serverMicros / a.serverMicros),
          target,
        ),
      ];
    }),
    ...Object.entries(figures).flatMap(([name, of]) => [
      check(`${store}: ${name}, posts with wrong totals`, of.wrongTotals.max, { atMost: 0 }),
      check(`${store}: ${name}, refused`, of.refused.max, { atMost: 0 }),
    ]),
  ];
}

/** Events a second that are accepted with and without a log, how soon they are counted, and how fast those of an outage are. */
import { setTimeout as sleep } from 'node:timers/promises';
import { wrongTotals } from '../acting/acting.mjs';
import { send } from '../acting/sending.mjs';
import { alternate, short, spread } from '../harness/alternate.mjs';
import { measureCpu } from '../harness/cpu.mjs';
import { check, tableOf } from '../harness/results.mjs';
import { startGateway, startRedis } from '../harness/servers.mjs';

export const title = 'events accepted with and without a log, the lag of counting, and catching up after an outage';
/** `warmup`: seconds before each measurement. `connections`: of HTTP. `probes`: views whose way is timed. `outage`: seconds. */
export const options = { warmup: 2, posts: 1_000, connections: 32, probes: 50, outage: 10 };

const WITHOUT = 'counted before the answer';
const WITH = 'kept in the log';
/** Events a request. */
const EVENTS = 100;
const LOG_MAX = 20_000_000;
const COUNTED_LIMIT_MS = 300_000;
const PROBE_POLL_MS = 2;
/** Between two probes, so that they meet all phases of LOG_MS. */
const PROBE_PAUSE_MS = 130;

export async function run(context) {
  const { cores, rounds, log } = context;
  const store = await startRedis(cores.load, false);
  const logServer = await startRedis(cores.load, true);
  const env = { REDIS_URL: store.url };
  const servers = {
    [WITHOUT]: await startGateway(env, cores.server),
    [WITH]: await startGateway(
      { ...env, LOG_URL: logServer.url, LOG_MAX: String(LOG_MAX), LOG_KEEP_S: '10' },
      cores.server,
    ),
  };
  const candidates = Object.entries(servers).map(([name, server]) => {
    return { name, measure: () => measureAccepted({ server, store, logServer, context }) };
  });
  const accepted = await alternate(candidates, { rounds, baseline: WITHOUT, log });
  const delayMs = await measureDelay(servers[WITH], context);
  log(`  counted after ${short(delayMs.median)} ms`);
  const outage = await measureOutage(servers[WITH], store, context);
  log(`  ${short(outage.events)} events of an outage, counted at ${short(outage.countedPerSecond)} a second`);
  return {
    tables: [
      tableOf('One core, requests of 100 events', accepted, {
        operationsPerSecond: 'events accepted/s',
        serverMicros: 'server µs each',
        storeMicros: 'store µs each',
        logMicros: 'log µs each',
        countedAfterS: 's until all are counted',
      }),
      {
        title: 'Kept in the log',
        columns: ['', ''],
        rows: [
          ['ms from the answer to the count, median', short(delayMs.median)],
          ['the same, most', short(delayMs.max)],
          ['events accepted while the store was down', short(outage.events)],
          ['of these, counted a second afterwards', short(outage.countedPerSecond)],
        ],
      },
    ],
    checks: [
      ...Object.entries(accepted.figures).flatMap(([name, of]) => [
        check(`${name}: posts with wrong totals`, of.wrongTotals.max, { atMost: 0 }),
        check(`${name}: refused`, of.refused.max, { atMost: 0 }),
      ]),
      check('after an outage: posts with wrong totals', outage.wrongTotals, { atMost: 0 }),
    ],
    flags: accepted.flags,
    data: { accepted, delayMs, outage },
  };
}

async function measureAccepted({ server, store, logServer, context: { seconds, cores, options: opts } }) {
  const { posts, connections, warmup } = opts;
  const cpu = measureCpu(server.pids, cores.server);
  const pids = [server.pid, store.pid, logServer.pid];
  const found = await send({
    port: server.port,
    pids,
    connections,
    warmup,
    seconds,
    posts,
    events: EVENTS,
    withSeq: false,
  });
  const { share, coreShare } = cpu();
  const { countedAfterS, wrong } = await untilCounted(server, found);
  const [serverMicros, storeMicros, logMicros] = found.micros;
  return {
    operationsPerSecond: found.operationsPerSecond,
    serverMicros,
    storeMicros,
    logMicros,
    countedAfterS,
    serverWaitShare: Math.max(0, coreShare - share),
    refused: found.refused,
    wrongTotals: wrong,
  };
}

/** @returns ms from the response to a view until it is read */
async function measureDelay({ url }, { options: { probes } }) {
  const delays = [];
  for (let i = 0; i < probes; i++) {
    const post = `probe-${i}`;
    await globalThis.fetch(`${url}/view?post=${post}`, { method: 'POST' });
    const acceptedMs = performance.now();
    while ((await readViews(url, post)) === 0) await sleep(PROBE_POLL_MS);
    delays.push(performance.now() - acceptedMs);
    await sleep(PROBE_PAUSE_MS);
  }
  return spread(delays);
}

async function readViews(url, post) {
  const response = await globalThis.fetch(`${url}/v1/${post}/views`);
  return (await response.json()).count;
}

/** Stops the store, accepts events for the time of the outage, and lets the store go on. */
async function measureOutage(server, store, { options: { outage, posts, connections } }) {
  process.kill(store.pid, 'SIGSTOP');
  const pids = [server.pid];
  const found = await send({
    port: server.port,
    pids,
    connections,
    warmup: 0,
    seconds: outage,
    posts,
    events: EVENTS,
    withSeq: false,
  });
  process.kill(store.pid, 'SIGCONT');
  const { countedAfterS, wrong } = await untilCounted(server, found);
  const events = found.ledger.views.reduce((sum, one) => sum + one, 0);
  return { events, countedPerSecond: events / countedAfterS, refused: found.refused, wrongTotals: wrong };
}

/** Waits until all that was accepted is counted. */
async function untilCounted(server, found) {
  const startedMs = performance.now();
  for (;;) {
    const wrong = await wrongTotals(server, found).catch(() => Infinity);
    const tookMs = performance.now() - startedMs;
    if (wrong === 0 || tookMs > COUNTED_LIMIT_MS) return { countedAfterS: tookMs / 1_000, wrong };
    await sleep(50);
  }
}

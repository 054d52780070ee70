/** Three times the capacity is offered: which operations are shed or acknowledged, and whether any are lost. */
import { setTimeout as sleep } from 'node:timers/promises';
import { act, startActing, wrongTotals } from '../acting/acting.mjs';
import { readMetrics, residentBytes } from '../acting/readings.mjs';
import { short } from '../harness/alternate.mjs';
import { linePlot } from '../harness/plot.mjs';
import { check } from '../harness/results.mjs';
import { startGateway, startRedis } from '../harness/servers.mjs';
import { socketIoScript } from '../watching/candidates.mjs';
import { openCrowd } from '../watching/crowd.mjs';

export const title = 'three times the rate that it can take, with viewers';
/** `times` the capacity for `overloadSeconds`. `viewers` are spread over `posts`, on which `connections` act. */
export const options = { times: 3, overloadSeconds: 20, posts: 100, viewers: 1_000, connections: 1_000, warmup: 5 };

const PREFIX = 'p';
/** Unacknowledged operations of a connection: an open loop until the gateway delays a client for seconds. */
const WINDOW = 512;
const MEMORY_RATIO_MAX = 1.3;
/** Ten milliseconds above the tick of a gateway that keeps up. */
const REST_TICK_SECONDS = 0.11;
/** Operations a second after the overload, so that there still are frames, and how many of them may wait. */
const REST_RATE = 100;
const REST_PENDING_MAX = 10;
const SAMPLE_MS = 500;
/** Limit for the recovery after the load has ended. */
const RECOVERED_LIMIT_MS = 10_000;

export async function run({ cores, log, options: setting }) {
  const results = [];
  for (const store of ['embedded', 'Redis']) {
    const redis = store === 'Redis' ? await startRedis(cores.load) : null;
    const server = await startGateway(redis === null ? {} : { REDIS_URL: redis.url }, cores.server);
    results.push({ store, ...(await overload(server, { cores, log, ...setting })) });
    await Promise.all([server.end(), redis?.end()]);
  }
  return {
    tables: results.map(table),
    checks: results.flatMap(checks),
    plots: Object.fromEntries(results.map((result) => [`overload-${result.store.toLowerCase()}`, plot(result)])),
    data: Object.fromEntries(results.map(({ store, ...data }) => [store, data])),
  };
}

async function overload(server, { cores, log, times, overloadSeconds, posts, viewers, connections, warmup }) {
  const watch = [...socketIoScript('%p'), '--posts', `1/${posts}`];
  const crowd = await openCrowd(server, viewers, watch, cores.load);
  const load = { core: cores.load, port: server.port, pids: [server.pid], connections, posts };
  const atCapacity = sample(server);
  // As long as the overload, because V8 lets its heap grow for some 10 s between two major collections.
  const capacity = (await act({ ...load, window: 8, warmup, seconds: overloadSeconds })).operationsPerSecond;
  const before = await atCapacity.end();
  const offered = Math.round(times * capacity);
  log(`  takes ${short(capacity)} a second, is offered ${short(offered)}`);
  const acting = startActing({
    ...load,
    prefix: PREFIX,
    window: WINDOW,
    rate: offered,
    warmup: 0,
    seconds: overloadSeconds,
  });
  await acting.measuring();
  const during = sample(server);
  const found = await acting.result();
  const samples = await during.end();
  const wrong = await wrongTotals(server, found);
  const recoveredMs = await recovered(server, { ...load, prefix: PREFIX });
  await crowd.end();
  const memoryRatio = most(samples, 'bytes') / most(before, 'bytes');
  return { capacity, offered, found, samples, memoryRatio, recoveredMs, wrong };
}

/** Samples memory, tick and waiting operations twice a second, with the time since the start. */
function sample(server) {
  const samples = [];
  const startMs = performance.now();
  let ended = false;
  const loop = (async () => {
    while (!ended) {
      const [metrics, bytes] = [await readMetrics(server), residentBytes(server.pid)];
      const tickMs = metrics.get('tallycast_tick_seconds') * 1_000;
      const pending = metrics.get('tallycast_pending_operations');
      samples.push({ second: (performance.now() - startMs) / 1_000, bytes, tickMs, pending });
      await sleep(SAMPLE_MS);
    }
  })();
  return {
    async end() {
      ended = true;
      await loop;
      return samples;
    },
  };
}

/** @returns ms until, under little load, the tick is normal and no operation waits; Infinity if not within the limit */
async function recovered(server, load) {
  const { load: little } = startActing({ ...load, rate: REST_RATE, seconds: RECOVERED_LIMIT_MS / 1_000 });
  const startMs = performance.now();
  let ms = 0;
  for (; ms < RECOVERED_LIMIT_MS; ms = performance.now() - startMs) {
    const metrics = await readMetrics(server);
    const atRest = metrics.get('tallycast_tick_seconds') <= REST_TICK_SECONDS;
    if (atRest && metrics.get('tallycast_pending_operations') <= REST_PENDING_MAX) break;
    await sleep(SAMPLE_MS / 10);
  }
  await little.end();
  return ms < RECOVERED_LIMIT_MS ? ms : Infinity;
}

function most(samples, field) {
  return Math.max(...samples.map((one) => one[field]));
}

function table({ store, capacity, offered, found, samples, memoryRatio, recoveredMs }) {
  const { acknowledgedIn, refusedIn, latencyMs, errors, sent } = found;
  const rows = [
    ['takes, operations/s', short(capacity)],
    ['is offered, operations/s', short(offered)],
    ['sent, operations/s', short(sent / found.seconds)],
    ['acknowledged, least of a second', short(Math.min(...acknowledgedIn))],
    ['acknowledged, mean of a second', short(acknowledgedIn.reduce((sum, one) => sum + one, 0) / found.seconds)],
    ['refused, mean of a second', short(refusedIn.reduce((sum, one) => sum + one, 0) / found.seconds)],
    ...Object.entries(errors).map(([code, count]) => [code, short(count)]),
    ['acknowledgement, p50 and p99 ms from when it was due', `${short(latencyMs.p50)}, ${short(latencyMs.p99)}`],
    ['longest tick, ms', short(most(samples, 'tickMs'))],
    ['most that waited', short(most(samples, 'pending'))],
    ['memory, of that at capacity', short(memoryRatio)],
    ['at rest again after, ms', short(recoveredMs)],
  ];
  return { title: `${store}: ${title}`, columns: ['', store], rows };
}

function checks({ store, found, samples, memoryRatio, recoveredMs, wrong }) {
  return [
    check(`${store}: posts with wrong totals`, wrong, { atMost: 0 }),
    check(`${store}: operations without an answer`, found.unanswered, { atMost: 0 }),
    check(`${store}: acknowledged in the worst second`, Math.min(...found.acknowledgedIn), { atLeast: 1 }),
    check(`${store}: memory, of that at capacity`, memoryRatio, { atMost: MEMORY_RATIO_MAX }),
    check(`${store}: longest tick, ms, beside 100 at rest`, most(samples, 'tickMs'), { atLeast: 100 }),
    check(`${store}: at rest again, ms after the load`, recoveredMs, { below: RECOVERED_LIMIT_MS }),
  ];
}

/** Draws each series relative to its maximum, because only the times matter. */
function plot({ store, found, samples }) {
  const share = (name, points) => {
    const greatest = Math.max(...points.map(([, value]) => value), Number.MIN_VALUE);
    return { name: `${name} (${short(greatest)})`, points: points.map(([x, value]) => [x, value / greatest]) };
  };
  const of = (field, scale = 1) => samples.map((one) => [one.second, one[field] / scale]);
  return linePlot({
    title: `Three times the load, ${store}: each line in share of its greatest`,
    x: { label: 'seconds of overload', log: false },
    y: { label: 'share', log: false },
    series: [
      share(
        'acks/s',
        found.acknowledgedIn.map((count, second) => [second + 1, count]),
      ),
      share('tick ms', of('tickMs')),
      share('MB', of('bytes', 1e6)),
      share('waiting', of('pending')),
    ],
  });
}

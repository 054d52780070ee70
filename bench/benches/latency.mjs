/** Latency from an operation to its acknowledgement and to a screen, at half of the gateway's capacity. */
import { act, startActing } from '../acting/acting.mjs';
import { alternate } from '../harness/alternate.mjs';
import { compiled } from '../harness/native.mjs';
import { start } from '../harness/processes.mjs';
import { check, tableOf } from '../harness/results.mjs';
import { startGateway, startRedis } from '../harness/servers.mjs';
import { socketIoScript } from '../watching/candidates.mjs';
import { openCrowd } from '../watching/crowd.mjs';

export const title = 'from an operation to its acknowledgement and to a screen, at half of the greatest rate';
/** `warmup`: seconds before each measurement. `viewers` are spread over `posts`, on which `connections` act. */
export const options = { warmup: 3, posts: 100, viewers: 1_000, connections: 1_000, probes: 50, only: '' };

/** The load acts on these posts and watches them, so that every probe uses a post that changes all the time. */
const PREFIX = 'p';
const TICK_MS = 100;
const ACKNOWLEDGED_MS = 40;
const SHOWN_AFTER_TICK_MS = 30;
/** Unacknowledged operations of a connection: far more than it sends within the limit. */
const WINDOW = 64;
/** The load outlasts the probes, which need a moment to connect, so that its end does not affect them. */
const LONGER_SECONDS = 5;
const EMBEDDED = 'tallycast embedded';
const REDIS = 'tallycast Redis';

export async function run({ rounds, seconds, cores, log, options: { only, ...setting } }) {
  const context = { seconds, cores, ...setting };
  const candidates = [EMBEDDED, REDIS].filter((name) => only === '' || only.split(',').includes(name));
  const result = await alternate(
    candidates.map((name) => ({ name, measure: () => measure(name, context) })),
    { rounds, baseline: candidates[0], log },
  );
  const columns = {
    shownP99: 'on screen p99 ms',
    shownP50: 'p50',
    acknowledgedP99: 'acknowledged p99 ms',
    acknowledgedP50: 'p50',
    rate: 'operations/s',
    serverShare: 'server busy',
    loadCoreShare: 'load core',
  };
  const checks = Object.entries(result.figures).flatMap(([name, of]) => [
    check(`${name}: to the acknowledgement, p99 ms`, of.acknowledgedP99.median, { below: ACKNOWLEDGED_MS }),
    check(`${name}: to the screen, p99 ms`, of.shownP99.median, { below: TICK_MS + SHOWN_AFTER_TICK_MS }),
    check(`${name}: refused or unanswered`, of.refused.max, { atMost: 0 }),
  ]);
  return { tables: [tableOf(title, result, columns)], checks, flags: result.flags, data: { setting, ...result } };
}

/** Starts a gateway and measures its capacity first. */
async function measure(name, { seconds, cores, warmup, posts, viewers, connections, probes }) {
  const redis = name === REDIS ? await startRedis(cores.load) : null;
  const server = await startGateway(redis === null ? {} : { REDIS_URL: redis.url }, cores.server);
  const pids = [server.pid, ...(redis === null ? [] : [redis.pid])];
  const load = { core: cores.load, port: server.port, pids, connections, posts, warmup, seconds };
  try {
    const { operationsPerSecond } = await act({ ...load, window: 1 });
    const rate = Math.round(operationsPerSecond / 2);
    const crowd = await openCrowd(server, viewers, [...socketIoScript('%p'), '--posts', `1/${posts}`], cores.load);
    const acting = startActing({ ...load, seconds: seconds + LONGER_SECONDS, prefix: PREFIX, window: WINDOW, rate });
    await acting.connected();
    const args = Object.entries({ port: server.port, prefix: PREFIX, posts, probes, warmup, seconds });
    const probe = start(
      compiled('probe'),
      args.map(([option, value]) => `${option}=${value}`),
      { core: cores.load },
    );
    const { shown, acknowledged } = await probe.record('shown');
    const found = await acting.result();
    await crowd.end();
    return figuresOf(found, { shown, acknowledged, rate });
  } finally {
    await Promise.all([server.end(), redis?.end()]);
  }
}

function figuresOf({ seconds, cpuSeconds, latencyMs, errors, unanswered }, { shown, acknowledged, rate }) {
  const [server, ...others] = cpuSeconds;
  return {
    rate,
    acknowledgedP50: acknowledged.p50,
    acknowledgedP99: acknowledged.p99,
    shownP50: shown.p50,
    shownP99: shown.p99,
    shownMax: shown.max,
    /** Latency of the load itself, from when each operation was due. */
    loadP99: latencyMs.p99,
    serverShare: server / seconds,
    loadCoreShare: others.reduce((sum, one) => sum + one, 0) / seconds,
    refused: Object.values(errors).reduce((sum, count) => sum + count, unanswered),
  };
}

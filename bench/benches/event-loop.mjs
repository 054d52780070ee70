/**
 * Delays of the gateway's event loop while a post with many viewers changes: the longest wait that fan-out adds to an
 * operation. Measured at a tick that the core can keep, and at one that it cannot.
 */
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { alternate } from '../harness/alternate.mjs';
import { needSockets } from '../harness/machine.mjs';
import { check, tableOf } from '../harness/results.mjs';
import { ROOT } from '../harness/servers.mjs';
import { tallycast } from '../watching/candidates.mjs';
import { drive, measureFrames, openCrowd } from '../watching/crowd.mjs';

export const title = "the gateway's event-loop delay while a post with many viewers changes";
export const options = { sockets: 10_000, tickMs: [500, 250, 50] };

const NODE_ARGS = ['--import', join(ROOT, 'bench', 'harness', 'inside.mjs')];
const P99_BELOW_MS = 15;
const WARM_MS = 3_000;
/** Share of one core above which the loop is late because of overload. */
const SATURATED_SHARE = 0.9;
const COLUMNS = {
  p99Ms: 'p99, ms',
  p50Ms: 'p50',
  maxMs: 'most',
  framesPerSecond: 'frames/s',
  serverShare: 'server busy',
};

export async function run({ rounds, seconds, cores, options: { sockets, tickMs } }) {
  needSockets(sockets);
  const candidates = [tickMs].flat().map((ms) => ({
    name: `TICK_MS=${ms}`,
    measure: () => measureDelay({ sockets, tickMs: ms, seconds, cores }),
  }));
  const measured = await alternate(candidates, { rounds, baseline: candidates[0].name });
  const checks = candidates.flatMap(({ name }) => {
    const { p99Ms, serverShare } = measured.figures[name];
    if (serverShare.median > SATURATED_SHARE) return [];
    return [check(`${name}, ${sockets} viewers: p99, ms`, p99Ms.median, { below: P99_BELOW_MS })];
  });
  const heading = `a post with ${sockets.toLocaleString('en')} viewers changes every tick`;
  return {
    tables: [tableOf(heading, measured, COLUMNS)],
    checks,
    flags: measured.flags,
    data: { sockets, ...measured },
  };
}

async function measureDelay({ sockets, tickMs, seconds, cores }) {
  const { server, watch, tick, close } = await tallycast.start({ tickMs, core: cores.server, nodeArgs: NODE_ARGS });
  const load = await openCrowd(server, sockets, watch, cores.load);
  const stop = drive(tick, tickMs);
  try {
    await sleep(WARM_MS);
    await readInside(server);
    const frames = await measureFrames(server, load, { seconds, cores, warmSeconds: 0 });
    const { p50, p99, max } = (await readInside(server)).loopMs;
    return { p99Ms: p99, p50Ms: p50, maxMs: max, ...frames };
  } finally {
    stop();
    close();
    await Promise.all([server.end(), load.end()]);
  }
}

async function readInside(server) {
  process.kill(server.pid, 'SIGUSR2');
  return (await server.record('inside')).inside;
}

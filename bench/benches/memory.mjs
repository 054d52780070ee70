/**
 * Memory of the server for each WebSocket that watches an idle post, opened with a browser's usual headers. Tallycast is
 * compared with stock socket.io (a room) and raw ws. All collect garbage before each reading.
 */
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { alternate } from '../harness/alternate.mjs';
import { memoryBytes } from '../harness/cpu.mjs';
import { needSockets } from '../harness/machine.mjs';
import { barPlot } from '../harness/plot.mjs';
import { check, tableOf } from '../harness/results.mjs';
import { ROOT } from '../harness/servers.mjs';
import { browserHeaders } from '../watching/browser.mjs';
import { rawWs, stockSocketIo, tallycast } from '../watching/candidates.mjs';
import { openCrowd } from '../watching/crowd.mjs';

export const title = 'memory for each idle WebSocket that watches a post';
export const options = { sockets: 10_000 };

/** Opened before the first reading, so that one-time allocations are excluded. */
const FIRST_SOCKETS = 500;
/** V8 returns freed memory to the system a little later. */
const SETTLE_MS = 2_000;
const NODE_ARGS = ['--expose-gc', '--import', join(ROOT, 'bench', 'harness', 'inside.mjs')];
const COLUMNS = { bytes: 'bytes a connection', heapBytes: 'of these in the heap', serverMiB: 'server, MiB' };
const OF_SOCKET_IO_MAX = 0.75;

export async function run({ rounds, cores, options: { sockets } }) {
  needSockets(sockets + FIRST_SOCKETS);
  const candidates = [stockSocketIo, tallycast, rawWs].map((candidate) => ({
    name: candidate.name,
    measure: () => measureMemory(candidate, sockets, cores),
  }));
  const measured = await alternate(candidates, { rounds, baseline: stockSocketIo.name });
  const heading = `${sockets.toLocaleString('en')} WebSockets with a browser's headers, each watching a post`;
  const bars = candidates.map(({ name }) => ({ name, ...measured.figures[name].bytes }));
  return {
    tables: [tableOf(heading, measured, COLUMNS)],
    checks: [check('tallycast / socket.io', measured.ratios.tallycast.bytes.median, { atMost: OF_SOCKET_IO_MAX })],
    plots: { memory: barPlot({ title: heading, unit: 'bytes', bars }) },
    data: { sockets, ...measured },
  };
}

async function measureMemory(candidate, sockets, cores) {
  // Peers do not tick at all, and the gateway gets no operations.
  const tickMs = candidate === tallycast ? 100 : 0;
  const running = await candidate.start({ tickMs, sockets, core: cores.server, nodeArgs: NODE_ARGS });
  const { server } = running;
  const watch = [...running.watch, ...browserHeaders];
  const first = await openCrowd(server, FIRST_SOCKETS, watch, cores.load);
  const before = await readMemory(server);
  const crowd = await openCrowd(server, sockets, watch, cores.load);
  const after = await readMemory(server);
  running.close?.();
  await Promise.all([server.end(), first.end(), crowd.end()]);
  return {
    bytes: (after.bytes - before.bytes) / sockets,
    heapBytes: (after.heapUsed - before.heapUsed) / sockets,
    serverMiB: after.bytes / 2 ** 20,
  };
}

async function readMemory(server) {
  await readInside(server);
  await sleep(SETTLE_MS);
  const { heapUsed } = await readInside(server);
  await sleep(SETTLE_MS);
  return { heapUsed, bytes: memoryBytes(server.pids) };
}

async function readInside(server) {
  process.kill(server.pid, 'SIGUSR2');
  return (await server.record('inside')).inside;
}

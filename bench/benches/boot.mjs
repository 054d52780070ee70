/**
 * Time, CPU and memory from the start of a gateway with its embedded store until it accepts connections, compared with a
 * bare NestJS application with a socket.io gateway. Both may use all cores.
 */
import { cpus } from 'node:os';
import { join } from 'node:path';
import { alternate } from '../harness/alternate.mjs';
import { memoryBytes, processMicros } from '../harness/cpu.mjs';
import { start, temporaryDirectory } from '../harness/processes.mjs';
import { check, tableOf } from '../harness/results.mjs';
import { ROOT } from '../harness/servers.mjs';

export const title = 'from the start of a process until it takes connections';
/** Boots of each candidate in a round; their median counts. */
export const options = { boots: 5 };

const READY_MAX_MS = 700;
const CPU_MAX_MS = 800;
const ALL_CORES = `0-${cpus().length - 1}`;
const BARE = 'NestJS + socket.io';
const COLUMNS = { readyMs: 'ready after, ms', cpuMs: 'CPU, ms', mebibytes: 'memory, MiB' };

const PROGRAMS = { [BARE]: join(ROOT, 'bench', 'peers', 'nest.mjs'), tallycast: join(ROOT, 'dist', 'main.js') };

export async function run({ rounds, options: { boots } }) {
  const candidates = Object.entries(PROGRAMS).map(([name, program]) => ({
    name,
    measure: () => medianOf(boots, () => boot(program)),
  }));
  const measured = await alternate(candidates, { rounds, baseline: BARE });
  const { readyMs, cpuMs } = measured.figures.tallycast;
  return {
    tables: [tableOf('the first connection can come', measured, COLUMNS)],
    checks: [
      check('ready after, ms', readyMs.median, { atMost: READY_MAX_MS }),
      check('CPU of a boot, ms', cpuMs.median, { atMost: CPU_MAX_MS }),
    ],
    data: { boots, ...measured },
  };
}

async function boot(program) {
  const env = { HOST: '127.0.0.1', PORT: '0', DATA_DIR: temporaryDirectory(), NODE_ENV: 'production' };
  const startedMs = performance.now();
  const server = start(process.execPath, [program], { core: ALL_CORES, env });
  await server.record('url');
  const figures = {
    readyMs: performance.now() - startedMs,
    cpuMs: processMicros(server.pid) / 1e3,
    mebibytes: memoryBytes([server.pid]) / 2 ** 20,
  };
  await server.end();
  return figures;
}

async function medianOf(times, measure) {
  const all = [];
  for (let i = 0; i < times; i++) all.push(await measure());
  const median = (figure) => all.map((one) => one[figure]).sort((a, b) => a - b)[times >> 1];
  return Object.fromEntries(Object.keys(all[0]).map((figure) => [figure, median(figure)]));
}

/** Many sockets that watch, and the server's cost of sending them frames. */
import { clearInterval, setInterval } from 'node:timers';
import { setTimeout as sleep } from 'node:timers/promises';
import { measureCpu } from '../harness/cpu.mjs';
import { compiled } from '../harness/native.mjs';
import { start } from '../harness/processes.mjs';

/** Warm-up until hot code is compiled and the number of viewers has reached all of them. */
const WARM_SECONDS = 3;
const CONNECTED_LIMIT_MS = 180_000;

/**
 * Opens sockets to a server from a core and resolves when all watch.
 *
 * @param args further arguments of the load (bench/native/watch.c)
 */
export async function openCrowd(server, sockets, args, core) {
  const load = start(compiled('watch'), ['--port', server.port, '--sockets', sockets, ...args], { core });
  await load.record('ready', CONNECTED_LIMIT_MS);
  return load;
}

/** Resolves with the traffic of the crowd since the last call. */
export async function received(load) {
  load.send('');
  return load.record('frames');
}

/** Calls `tick` every `tickMs` on a schedule without drift. @returns a function that stops it */
export function drive(tick, tickMs) {
  if (tick === undefined) return () => undefined;
  const startMs = performance.now();
  let ticks = 0;
  const timer = setInterval(
    () => {
      for (; ticks < (performance.now() - startMs) / tickMs; ticks++) tick();
    },
    Math.max(1, tickMs / 10),
  );
  return () => clearInterval(timer);
}

/**
 * Measures frames from a server to a crowd for some seconds after a warm-up.
 *
 * @returns `microsPerFrame` of the server's CPU, `framesPerSecond`, `bytesPerFrame` of text, and shares of a core used by
 *   the server, by the load, and in all on the load's core; `serverWaitShare`: see `measureCpu`
 */
export async function measureFrames(server, load, { seconds, cores, warmSeconds = WARM_SECONDS }) {
  await sleep(warmSeconds * 1_000);
  await received(load);
  const serverCpu = measureCpu(server.pids, cores.server);
  const loadCpu = measureCpu([load.pid], cores.load);
  await sleep(seconds * 1_000);
  const { frames, payloadBytes, closed } = await received(load);
  const cpu = serverCpu();
  const loaded = loadCpu();
  if (closed > 0) throw new Error(`${closed} connections were closed during the measurement`);
  return {
    microsPerFrame: cpu.micros / frames,
    framesPerSecond: (frames / cpu.wallMicros) * 1e6,
    bytesPerFrame: payloadBytes / frames,
    serverShare: cpu.share,
    serverWaitShare: cpu.waitShare,
    loadShare: loaded.share,
    loadCoreShare: loaded.coreShare,
  };
}

/** Starts a candidate and its crowd, measures, and ends them. */
export async function measureCandidate(candidate, { sockets, tickMs, seconds, cores, watch = [], env, nodeArgs }) {
  const running = await candidate.start({ tickMs, sockets, core: cores.server, env, nodeArgs });
  const load = await openCrowd(running.server, sockets, [...running.watch, ...watch], cores.load);
  const stop = drive(running.tick, tickMs);
  try {
    return await measureFrames(running.server, load, { seconds, cores });
  } finally {
    stop();
    running.close?.();
    await Promise.all([running.server.end(), load.end()]);
  }
}

/**
 * Loaded into a measured server with `--import`. On SIGUSR2 it collects garbage (with `--expose-gc`) and prints a line of
 * JSON: event-loop delays since the last signal in ms, and the heap's bytes.
 */
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { setFlagsFromString } from 'node:v8';

/** Resolution of the histogram. It records whole intervals, so the resolution is subtracted. */
const RESOLUTION_MS = 1;

const delays = monitorEventLoopDelay({ resolution: RESOLUTION_MS });
delays.enable();

process.on('SIGUSR2', () => {
  const ms = (nanos) => Math.max(0, nanos / 1e6 - RESOLUTION_MS);
  const loopMs = { p50: ms(delays.percentile(50)), p99: ms(delays.percentile(99)), max: ms(delays.max) };
  if (globalThis.gc !== undefined) {
    // Without compaction, new connections would fill half-empty pages from the boot and seem to take less.
    setFlagsFromString('--compact-on-every-full-gc');
    // Twice, because a second collection frees what the first one finalises.
    globalThis.gc();
    globalThis.gc();
    setFlagsFromString('--no-compact-on-every-full-gc');
  }
  const { heapUsed, external, rss } = process.memoryUsage();
  process.stderr.write(`${JSON.stringify({ inside: { loopMs, heapUsed, external, rss } })}\n`);
  delays.reset();
});

/**
 * Loaded into a server under measurement with `--import`: at SIGUSR2 it collects garbage, if it may (`--expose-gc`), and
 * prints a line of JSON: how long the event loop was held up since the last time, in ms, and the heap's bytes.
 */
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { setFlagsFromString } from 'node:v8';

/** How often the histogram looks; what it records is the whole interval, so this is taken off again. */
const RESOLUTION_MS = 1;

const delays = monitorEventLoopDelay({ resolution: RESOLUTION_MS });
delays.enable();

process.on('SIGUSR2', () => {
  const ms = (nanos) => Math.max(0, nanos / 1e6 - RESOLUTION_MS);
  const loopMs = { p50: ms(delays.percentile(50)), p99: ms(delays.percentile(99)), max: ms(delays.max) };
  if (globalThis.gc !== undefined) {
    // Else what was freed while it started stays in half-empty pages, and newcomers would seem to take less.
    setFlagsFromString('--compact-on-every-full-gc');
    // Twice: what a first collection finalises, a second one frees.
    globalThis.gc();
    globalThis.gc();
    setFlagsFromString('--no-compact-on-every-full-gc');
  }
  const { heapUsed, external, rss } = process.memoryUsage();
  process.stderr.write(`${JSON.stringify({ inside: { loopMs, heapUsed, external, rss } })}\n`);
  delays.reset();
});

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';
import { setInterval } from 'node:timers';

/**
 * Loaded with `--import`. Shifts the wall clock of this process by the milliseconds in the file CLOCK_OFFSET_DIR/REGION,
 * which may change at any time. Without the file there is no shift. The monotonic clock and timers are unchanged.
 */
const { CLOCK_OFFSET_DIR, REGION } = process.env;
if (!CLOCK_OFFSET_DIR || !REGION) throw new Error('CLOCK_OFFSET_DIR and REGION must be set');
/** In the time of this process, which may pass several times faster. */
const READ_INTERVAL_MS = 1_000;

let offsetMs = 0;

function readOffset() {
  try {
    offsetMs = Number(readFileSync(join(CLOCK_OFFSET_DIR, REGION), 'utf8'));
  } catch {
    offsetMs = 0;
  }
}

readOffset();
setInterval(readOffset, READ_INTERVAL_MS).unref();

const { now: trueWallMs } = Date;
Date.now = () => trueWallMs() + offsetMs;
globalThis.Date = new Proxy(Date, {
  construct: (target, args, newTarget) => Reflect.construct(target, args.length === 0 ? [Date.now()] : args, newTarget),
  apply: () => new globalThis.Date().toString(),
});

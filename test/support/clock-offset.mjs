import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';
import { setInterval } from 'node:timers';

/**
 * Loaded with `--import`: the wall clock of this process is off by what the file CLOCK_OFFSET_DIR/REGION says, in milliseconds, which may
 * change at any time. The monotonic clock and timers are right. Without the file the wall clock is right, too.
 */
const { CLOCK_OFFSET_DIR, REGION } = process.env;
if (!CLOCK_OFFSET_DIR || !REGION) throw new Error('CLOCK_OFFSET_DIR and REGION must be set');
const LOOK_MS = 20;

let offsetMs = 0;

function look() {
  try {
    offsetMs = Number(readFileSync(join(CLOCK_OFFSET_DIR, REGION), 'utf8'));
  } catch {
    offsetMs = 0;
  }
}

look();
setInterval(look, LOOK_MS).unref();

const { now: rightWallMs } = Date;
Date.now = () => rightWallMs() + offsetMs;
globalThis.Date = new Proxy(Date, {
  construct: (target, args, newTarget) => Reflect.construct(target, args.length === 0 ? [Date.now()] : args, newTarget),
  apply: () => new globalThis.Date().toString(),
});

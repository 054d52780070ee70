/* global AbortSignal */
import { syncBuiltinESMExports } from 'node:module';
import timers from 'node:timers';
import process from 'node:process';

/**
 * Loaded with `--import`: time passes TIME_SCALE times slower in this process, so that timers and deadlines last longer
 * and a slow machine does not reach them. With a TIME_SCALE below 1 time passes faster. `startGateway` explains its use.
 *
 * The wall clock is right at TIME_SCALE_SINCE_MS and falls behind from there on. Processes with the same instant agree on
 * the time, as gateways must. setImmediate, hrtime and the event-loop monitor keep true time.
 */
const SCALE = Number(process.env.TIME_SCALE);
const SINCE_MS = Number(process.env.TIME_SCALE_SINCE_MS);
if (!(SCALE > 0) || !(SINCE_MS > 0)) throw new Error('TIME_SCALE and TIME_SCALE_SINCE_MS must be set');
/** Clients know this interval and have a deadline for the next ping, so it is never stretched. */
const PING_INTERVAL_MS = 15_000;

const { now: trueNowMs } = performance;
const { now: trueWallMs } = Date;

performance.now = () => trueNowMs.call(performance) / SCALE;

Date.now = () => Math.floor(SINCE_MS + (trueWallMs() - SINCE_MS) / SCALE);
globalThis.Date = new Proxy(Date, {
  construct: (target, args, newTarget) => Reflect.construct(target, args.length === 0 ? [Date.now()] : args, newTarget),
  apply: () => new globalThis.Date().toString(),
});

for (const name of ['setTimeout', 'setInterval']) {
  const unstretched = timers[name];
  timers[name] = (call, ms, ...args) =>
    unstretched(call, ms === PING_INTERVAL_MS ? ms * Math.min(SCALE, 1) : ms * SCALE, ...args);
  globalThis[name] = timers[name];
}
syncBuiltinESMExports();

const { timeout } = AbortSignal;
AbortSignal.timeout = (ms) => timeout.call(AbortSignal, ms * SCALE);

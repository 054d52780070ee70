import type { Random } from '../support/random.js';
import type { SimulatedProcess } from './simulated-process.js';

/** Calls a server that may be slow, fail before it has done anything, or fail after it did it. */
export type UnreliableCall = <T>(run: () => T | Promise<T>) => Promise<T>;

/** How bad calls are: the probability of each fault, 0 to 1. */
export interface CallWeather {
  isDown: boolean;
  failsBefore: number;
  failsAfter: number;
  slow: number;
}

export function calmWeather(): CallWeather {
  return { isDown: false, failsBefore: 0, failsAfter: 0, slow: 0 };
}

/** Longer than a lease, so that another gateway may act within a call. */
const SLOW_MAX_MS = 3_000;
const DOWN_MS = 20;

/** @param error the error of a call without an answer */
export function callFrom(
  process: SimulatedProcess,
  random: Random,
  weather: CallWeather,
  error: () => Error,
): UnreliableCall {
  return async (run) => {
    const isSlow = random.chance(weather.slow);
    if (isSlow) await process.world(random.below(SLOW_MAX_MS));
    if (weather.isDown || random.chance(weather.failsBefore)) {
      await process.pause(DOWN_MS);
      throw error();
    }
    const result = await run();
    if (isSlow) await process.world(random.below(SLOW_MAX_MS));
    await process.awake();
    if (random.chance(weather.failsAfter)) throw error();
    return result;
  };
}

import { expect, test } from '@jest/globals';
import { settled, SimulatedClock } from '../../test/simulation/simulated-clock.js';
import { sleep } from './sleep.js';

async function ended(promise: Promise<void>): Promise<boolean> {
  let over = false;
  void promise.then(() => (over = true));
  await settled();
  return over;
}

test('a sleep ends when its time is over', async () => {
  const clock = new SimulatedClock();
  const slept = sleep(clock, 100);
  await clock.advance(99);
  expect(await ended(slept)).toBe(false);
  await clock.advance(1);
  expect(await ended(slept)).toBe(true);
});

test('a sleep ends when it is aborted and leaves no timer', async () => {
  const clock = new SimulatedClock();
  const abort = new AbortController();
  const slept = sleep(clock, 100, abort.signal);
  abort.abort();
  expect([await ended(slept), clock.timers]).toEqual([true, 0]);
  expect(await ended(sleep(clock, 100, abort.signal))).toBe(true);
});

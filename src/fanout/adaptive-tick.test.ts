import { expect, test } from '@jest/globals';
import { AdaptiveTick } from './adaptive-tick.js';

const LEAST_MS = 100;

test('a gateway under low load has the configured tick', () => {
  const tempo = new AdaptiveTick(LEAST_MS);
  for (let now = 0; now < 10_000; now += 100) {
    tempo.recordWriting(now, now + 50);
    tempo.cycleTook(now % LEAST_MS, now + 50);
  }
  expect(tempo.tickMs(10_000)).toBe(LEAST_MS);
});

test('a tick is as long as viewers wait for their turn', () => {
  const tempo = new AdaptiveTick(LEAST_MS);
  tempo.cycleTook(340, 1_000);
  expect(tempo.tickMs(1_000)).toBe(340);
  tempo.cycleTook(700, 1_001);
  expect(tempo.tickMs(1_001)).toBe(700);
});

test('where writing takes all of the time, the tick doubles until writing takes half of it', () => {
  const tempo = new AdaptiveTick(LEAST_MS);
  let now = 0;
  const ticks = [0, 0, 0].map(() => {
    tempo.recordWriting(now, now + 250);
    now += 250;
    return tempo.tickMs(now);
  });
  expect(ticks[0]).toBe(200);
  expect(ticks[1]).toBeGreaterThan(300);
  expect(ticks[2]).toBeGreaterThan(500);
});

test('the tick has a maximum', () => {
  const tempo = new AdaptiveTick(LEAST_MS);
  tempo.cycleTook(60_000, 60_000);
  expect(tempo.tickMs(60_000)).toBe(2_000);
  tempo.recordWriting(60_000, 60_001);
  tempo.recordWriting(60_001, 70_000);
  tempo.cycleTook(1_500, 70_000);
  expect(tempo.tickMs(70_000)).toBeLessThanOrEqual(2_000);
});

test('a configured tick above the maximum stays as it is', () => {
  const tempo = new AdaptiveTick(5_000);
  tempo.cycleTook(60_000, 60_000);
  tempo.recordWriting(60_000, 70_000);
  expect(tempo.tickMs(70_000)).toBe(5_000);
});

test('after load the tick returns to its length gradually, even without viewers', () => {
  const tempo = new AdaptiveTick(LEAST_MS);
  tempo.cycleTook(600, 1_000);
  const ticks = [1_200, 2_000, 4_000, 8_000].map((now) => tempo.tickMs(now));
  expect(ticks[0]).toBeGreaterThan(500);
  expect(ticks[1]).toBeCloseTo(LEAST_MS + 500 / Math.E);
  expect(ticks).toEqual(ticks.toSorted((a, b) => b - a));
  expect(ticks.at(-1)).toBe(LEAST_MS);
});

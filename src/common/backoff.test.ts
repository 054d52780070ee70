import { expect, it } from '@jest/globals';
import { Backoff } from './backoff.js';

const FAILURES = [1, 2, 3, 4, 5, 10_000];

it('a pause doubles with each failure, up to the maximum', () => {
  const backoff = new Backoff(100, 1_000, () => 1);
  expect(FAILURES.map((failures) => backoff.pauseMs(failures))).toEqual([100, 200, 400, 800, 1_000, 1_000]);
});

it('the upper half of a pause is random', () => {
  const randoms = [0, 0.5, 0.25];
  const backoff = new Backoff(100, 1_000, () => randoms.shift()!);
  expect([1, 1, 2].map((failures) => backoff.pauseMs(failures))).toEqual([50, 75, 125]);
});

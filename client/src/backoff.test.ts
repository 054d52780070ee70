import { describe, expect, test } from '@jest/globals';
import { Backoff } from './backoff.js';

describe('backoff', () => {
  test('the limit doubles with each failure up to the maximum, and starts again after a reset', () => {
    const backoff = new Backoff(() => 1, 500, 3_000);
    expect([1, 2, 3, 4, 5].map(() => backoff.next())).toEqual([500, 1_000, 2_000, 3_000, 3_000]);
    backoff.reset();
    expect(backoff.next()).toBe(500);
  });

  test('the wait is a random share of the limit', () => {
    const randoms = [0, 0.25, 0.5];
    const backoff = new Backoff(() => randoms.shift()!, 1_000, 8_000);
    expect([1, 2, 3].map(() => backoff.next())).toEqual([0, 500, 2_000]);
  });
});

import { describe, expect, test } from '@jest/globals';
import { SimulatedClock } from '../../test/simulation/simulated-clock.js';
import { KeyedRateLimiter } from './keyed-rate-limiter.js';

const KEYS_MAX = 100_000;

/** Ten a second, five at once. */
function rate(): { clock: SimulatedClock; rate: KeyedRateLimiter } {
  const clock = new SimulatedClock();
  return { clock, rate: new KeyedRateLimiter(clock, 10, 5) };
}

function waits(of: KeyedRateLimiter, key: string, tries: number): number[] {
  return Array.from({ length: tries }, () => of.take(key));
}

describe('a rate by keys', () => {
  test('each key has its burst at once, then its rate, and the limiter returns the time until the next token', () => {
    const { clock, rate: all } = rate();
    expect(waits(all, 'a', 7)).toEqual([0, 0, 0, 0, 0, 100, 100]);
    expect(waits(all, 'b', 2)).toEqual([0, 0]);
    clock.spend(60);
    expect(all.waitMs('a')).toBe(40);
    clock.spend(40);
    expect(waits(all, 'a', 2)).toEqual([0, 100]);
    clock.spend(10_000);
    expect(waits(all, 'a', 6)).toEqual([0, 0, 0, 0, 0, 100]);
  });

  test('a key owes at most one burst', () => {
    const { clock, rate: all } = rate();
    for (let i = 0; i < 1_000; i++) all.charge('a');
    expect(all.waitMs('a')).toBe(600);
    clock.spend(600);
    expect(waits(all, 'a', 2)).toEqual([0, 100]);
  });

  test('several tokens are taken together or not at all, and at most a whole burst', () => {
    const { clock, rate: all } = rate();
    expect([all.take('a', 3), all.take('a', 3), all.take('a', 2)]).toEqual([0, 100, 0]);
    clock.spend(400);
    expect(all.take('a', 50)).toBe(100);
    clock.spend(100);
    expect([all.take('a', 50), all.take('a')]).toEqual([0, 100]);
  });

  test('reading the time to wait takes no token', () => {
    const { rate: all } = rate();
    for (let i = 0; i < 100; i++) expect(all.waitMs('a')).toBe(0);
    expect(all.size).toBe(0);
    expect(waits(all, 'a', 5)).toEqual([0, 0, 0, 0, 0]);
  });

  test('the limiter forgets keys that owe nothing any more', () => {
    const { clock, rate: all } = rate();
    for (let i = 0; i < 50_000; i++) {
      all.take(`key ${i}`);
      clock.spend(1);
    }
    expect(all.size).toBeLessThan(1_500);
  });

  test('the limiter keeps 100,000 keys that owe something, and forgets the first beyond them', () => {
    const { rate: all } = rate();
    for (let i = 0; i < 6; i++) all.take('first');
    for (let i = 0; i < KEYS_MAX - 1; i++) all.take(`key ${i}`);
    expect(all.waitMs('first')).toBe(100);
    for (let i = 0; i < 5; i++) all.take('last');
    expect(all.size).toBeLessThanOrEqual(KEYS_MAX);
    expect([all.waitMs('first'), all.waitMs('last')]).toEqual([0, 100]);
  });
});

import { describe, expect, test } from '@jest/globals';
import { OperationLimiter, TokenBucket } from './rate-limit.js';

describe('a token bucket', () => {
  test('a token bucket gives its burst at once, and then its rate', () => {
    const bucket = new TokenBucket(10, 0);
    expect(taken(bucket, 0, 20)).toBe(10);
    expect(taken(bucket, 500, 20)).toBe(5);
    expect(taken(bucket, 10_000, 20)).toBe(10);
  });

  test('a token bucket may have a burst other than its rate', () => {
    const bucket = new TokenBucket(10, 0, 30);
    expect(taken(bucket, 0, 100)).toBe(30);
    expect(taken(bucket, 1_000, 100)).toBe(10);
  });

  test('a token bucket with a rate of 0 has no limit', () => {
    expect(taken(new TokenBucket(0, 0), 0, 10_000)).toBe(10_000);
  });

  test('a rejection returns the time until the whole burst is back, and takes no tokens', () => {
    const bucket = new TokenBucket(10, 0);
    taken(bucket, 0, 10);
    expect([bucket.take(0), bucket.take(0), bucket.take(200)]).toEqual([1_000, 1_000, 0]);
    expect(bucket.take(200, 5)).toBe(900);
    expect(bucket.take(200.5, 5)).toBe(900);
  });

  test('several tokens are taken together or not at all', () => {
    const bucket = new TokenBucket(10, 0);
    expect([bucket.take(0, 8), bucket.take(0, 3), bucket.take(0, 2)]).toEqual([0, 800, 0]);
  });

  test('the time to wait is never 0, however little is missing', () => {
    const bucket = new TokenBucket(1_000_000, 0);
    bucket.take(0, 1_000_000);
    expect(bucket.take(999.9999, 1_000_000)).toBe(1);
  });

  test('a token bucket is full when nothing was taken for long enough', () => {
    const bucket = new TokenBucket(10, 0);
    expect(bucket.isFull(0)).toBe(true);
    bucket.take(0, 5);
    expect([bucket.isFull(499), bucket.isFull(500)]).toEqual([false, true]);
    expect(new TokenBucket(0, 0).isFull(0)).toBe(true);
  });

  test('a token bucket never exceeds its burst and its rate over any time', () => {
    const bucket = new TokenBucket(50, 0);
    let given = 0;
    for (let ms = 0; ms < 10_000; ms += 7) given += taken(bucket, ms, 3);
    expect(given).toBeGreaterThan(50 + 50 * 9.9);
    expect(given).toBeLessThanOrEqual(50 + 50 * 10);
  });
});

describe("a connection's limit", () => {
  test('after a rejection all operations are rejected until the returned time, even those with tokens', () => {
    const limit = new OperationLimiter(new TokenBucket(10, 0), null);
    for (let i = 0; i < 10; i++) expect(limit.admit(0)).toBe(0);
    expect(limit.admit(0)).toBe(1_000);
    // A token is back by now; but an operation let through here would overtake the one that was refused.
    expect(limit.admit(500)).toBe(500);
    expect(limit.admit(999.5)).toBe(1);
    expect(limit.admit(1_000)).toBe(0);
  });

  test('all rejected operations are accepted in their order at the returned time', () => {
    const limit = new OperationLimiter(new TokenBucket(10, 0), null);
    const waits = Array.from({ length: 20 }, () => limit.admit(0));
    expect(waits.filter((ms) => ms === 0)).toHaveLength(10);
    expect(Array.from({ length: 10 }, () => limit.admit(Math.max(...waits)))).toEqual(Array(10).fill(0));
  });

  test('a retry that comes a moment early is not overtaken by those behind it', () => {
    const limit = new OperationLimiter(new TokenBucket(10, 0), null);
    const rejected = Array.from({ length: 20 }, (_, i) => i + 1).filter((seq) => limit.admit(0, 1, seq) > 0);
    expect([rejected[0], rejected.length]).toEqual([11, 10]);
    const early = [limit.admit(999.9, 1, 11), limit.admit(999.9, 1, 12)];
    const late = [limit.admit(1_000, 1, 13), limit.admit(1_050, 1, 20)];
    expect([early, late]).toEqual([
      [1, 1],
      [100, 100],
    ]);
    expect(rejected.map((seq) => limit.admit(1_150, 1, seq))).toEqual(Array(10).fill(0));
  });

  test('operations without a seq are accepted in any order', () => {
    const limit = new OperationLimiter(new TokenBucket(10, 0), null);
    for (let seq = 1; seq <= 11; seq++) limit.admit(0, 1, seq);
    expect([limit.admit(1_000), limit.admit(1_000, 1, 12), limit.admit(1_000, 1, 11)]).toEqual([0, 100, 0]);
  });

  test('an earlier operation that is resent does not let later ones pass the rejected one', () => {
    const limit = new OperationLimiter(new TokenBucket(10, 0), null);
    for (let seq = 1; seq <= 12; seq++) limit.admit(0, 1, seq);
    expect([limit.admit(1_000, 1, 5), limit.admit(1_000, 1, 12), limit.admit(1_000, 1, 11)]).toEqual([0, 100, 0]);
  });

  test('a second copy of an accepted operation may be rejected, and blocks no later ones', () => {
    const limit = new OperationLimiter(new TokenBucket(10, 0), null);
    for (let seq = 1; seq <= 10; seq++) limit.admit(0, 1, seq);
    expect([limit.admit(0, 1, 10), limit.admit(1_000, 1, 11)]).toEqual([1_000, 0]);
  });

  test('an accepted operation that failed blocks later ones if its retry is rejected', () => {
    const limit = new OperationLimiter(new TokenBucket(10, 0), null);
    for (let seq = 1; seq <= 10; seq++) limit.admit(0, 1, seq);
    for (let seq = 9; seq <= 10; seq++) limit.markFailed(seq);
    expect([limit.admit(0, 1, 9), limit.admit(1_000, 1, 11), limit.admit(1_000, 1, 9)]).toEqual([1_000, 100, 0]);
  });

  test('time in which the connection is paused does not end the wait for the rejected operation', () => {
    const limit = new OperationLimiter(new TokenBucket(10, 0), null);
    for (let seq = 1; seq <= 11; seq++) limit.admit(0, 1, seq);
    limit.excludePause(9_000, 7_500);
    expect([limit.admit(9_000, 1, 12), limit.admit(9_000, 1, 11)]).toEqual([100, 0]);
  });

  test('a client that never resends a rejected operation continues after a while', () => {
    const limit = new OperationLimiter(new TokenBucket(10, 0), null);
    for (let seq = 1; seq <= 11; seq++) limit.admit(0, 1, seq);
    const waits = Array.from({ length: 60 }, (_, i) => limit.admit(1_000 + i * 100, 1, 12 + i));
    expect(waits).toEqual(Array.from({ length: 60 }, (_, i) => (i < 50 ? 100 : 0)));
  });

  test('the connections of an address share one token bucket', () => {
    const address = new TokenBucket(10, 0);
    const [one, other] = [
      new OperationLimiter(new TokenBucket(10, 0), address),
      new OperationLimiter(new TokenBucket(10, 0), address),
    ];
    for (let i = 0; i < 6; i++) one.admit(0);
    const waits = Array.from({ length: 5 }, () => other.admit(0));
    expect(waits).toEqual([0, 0, 0, 0, 1_000]);
    // It was the address that was used up, so the other connection finds out when it asks.
    expect(one.admit(0)).toBe(1_000);
  });

  test('an exempt address has no limit', () => {
    const limit = new OperationLimiter(new TokenBucket(0, 0), null);
    expect(Array.from({ length: 1_000 }, () => limit.admit(0)).every((ms) => ms === 0)).toBe(true);
  });

  test('a rejection for another reason also blocks, and a shorter one does not end a longer one', () => {
    const limit = new OperationLimiter(new TokenBucket(10, 0), null);
    limit.block(0, 2_000);
    limit.block(0, 500);
    expect([limit.admit(600), limit.admit(2_000)]).toEqual([1_400, 0]);
  });

  test('time in which the connection is paused neither ends a rejection nor starts one', () => {
    const limit = new OperationLimiter(new TokenBucket(10, 0), null);
    limit.block(1_000, 1_000);
    limit.excludePause(4_500, 3_000);
    expect([limit.admit(4_500), limit.admit(5_000)]).toEqual([500, 0]);
    limit.excludePause(9_000, 4_000);
    expect(limit.admit(9_000)).toBe(0);
  });
});

/** How many of that many single tokens are given. */
function taken(bucket: TokenBucket, nowMs: number, tries: number): number {
  let given = 0;
  for (let i = 0; i < tries; i++) if (bucket.take(nowMs) === 0) given += 1;
  return given;
}

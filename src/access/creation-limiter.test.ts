import { describe, expect, test } from '@jest/globals';
import { SimulatedClock } from '../../test/simulation/simulated-clock.js';
import type { PostCounts } from '../counters/batch.js';
import { MARK_GENERATION_MAX, MARK_GENERATION_MS } from '../counters/bucket.js';
import { APPLIED } from '../counters/operation.js';
import { type CreationLimits, CreationLimiter, type ClientCreations } from './creation-limiter.js';
import { SuspicionLog } from './suspicion-log.js';

const ADDRESS = '203.0.113.1';

function world(some: Partial<CreationLimits> = {}): { clock: SimulatedClock; limiter: CreationLimiter } {
  const clock = new SimulatedClock();
  const limits = {
    postsPerMinute: 10,
    actorsPerMinute: 10,
    watchedMax: 100,
    limitsMarks: true,
    buckets: 1,
    workers: 1,
    ...some,
  };
  const suspicions = new SuspicionLog(clock, () => undefined);
  return { clock, limiter: new CreationLimiter(limits, clock, suspicions, () => false) };
}

function counts(post: string, v: number): PostCounts {
  return { post, e: 'local.1.0', v, updatedAtMs: 0, totals: [0, v], live: 0 };
}

/** Marks that an address is granted that begins new sessions as fast as it may, with the times of each. */
function marksBegun(workers: number, hours: number): number[] {
  const { clock, limiter } = world({ workers });
  const times: number[] = [];
  while (clock.nowMs() < hours * MARK_GENERATION_MS) {
    const error = limiter.openClient(ADDRESS, null, false)!.admit('add', 'page', true);
    if (error === null) times.push(clock.nowMs());
    else clock.spend(error.retryAfterMs!);
  }
  return times;
}

describe('session marks of an address in a bucket', () => {
  test.each([1, 4])('an address starts at most half a generation of marks in any hour, with %i workers', (workers) => {
    const times = marksBegun(workers, 3);
    let most = 0;
    for (let from = 0, to = 0; to < times.length; to++) {
      while (times[to]! - times[from]! >= MARK_GENERATION_MS) from += 1;
      most = Math.max(most, to - from + 1);
    }
    expect(most * workers).toBeLessThanOrEqual(MARK_GENERATION_MAX / 2);
    expect(most * workers).toBeGreaterThan(MARK_GENERATION_MAX / 2 - 20 * workers);
  });

  test('an address may start marks for 500 requests a second with their own keys, spread over 64 buckets', () => {
    const { clock, limiter } = world({ buckets: 64 });
    const errors: unknown[] = [];
    for (let i = 0; i < 500 * 120; i++) {
      const error = limiter.openClient(ADDRESS, null, true)!.admit('add', `page-${i % 10_000}`, true);
      if (error !== null) errors.push(error);
      clock.spend(2);
    }
    expect(errors).toEqual([]);
  });

  test('a connection starts one mark in each bucket', () => {
    const { limiter } = world({ buckets: 100 });
    const client = limiter.openClient(ADDRESS, null, false)!;
    const posts = Array.from({ length: 100_000 }, (_, i) => `page-${i % 1_000}`);
    expect(posts.filter((post) => client.admit('add', post, true) !== null)).toEqual([]);
  });
});

describe('a new actor', () => {
  test.each([
    ['set', 10],
    ['visit', 10],
    ['add', 20],
    ['adjust', 20],
  ] as const)('operations of the kind %s are admitted for %i of 20 actors', (kind, admitted) => {
    const { limiter } = world();
    const errors = Array.from({ length: 20 }, (_, lo) =>
      limiter.openClient(ADDRESS, { hi: lo, lo }, true)!.admit(kind, 'page', false),
    );
    expect(errors.filter((error) => error === null)).toHaveLength(admitted);
  });
});

describe('a new post', () => {
  function viewed(client: ClientCreations, post: string, v: number, outcome = APPLIED): void {
    client.chargeNewPost(outcome, counts(post, v));
  }

  function mayBegin({ limiter }: { limiter: CreationLimiter }): boolean {
    return limiter.openClient(ADDRESS, null, false)!.admit('add', 'another', false) === null;
  }

  test('a new post is charged once, to the first client that counted it', () => {
    const all = world();
    const client = all.limiter.openClient(ADDRESS, null, false)!;
    for (let i = 0; i < 9; i++) for (let again = 0; again < 5; again++) viewed(client, `post-${i}`, 1);
    expect(mayBegin(all)).toBe(true);
    viewed(client, 'post-9', 1);
    expect(mayBegin(all)).toBe(false);
  });

  test('a post that was counted before is not new, and neither is one of a repeated operation', () => {
    const all = world();
    const client = all.limiter.openClient(ADDRESS, null, false)!;
    for (let i = 0; i < 100; i++) {
      viewed(client, `old-${i}`, 2);
      viewed(client, `liked-once-${i}`, 1, 0);
    }
    expect(mayBegin(all)).toBe(true);
  });

  test('a post that is stored although nothing was counted is new', () => {
    const all = world();
    const client = all.limiter.openClient(ADDRESS, null, false)!;
    for (let i = 0; i < 10; i++) viewed(client, `unliked-${i}`, 0, 0);
    expect(mayBegin(all)).toBe(false);
  });
});

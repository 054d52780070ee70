import { describe, expect, test } from '@jest/globals';
import type { CommitResult } from '../../src/counters/batch.js';
import { bucketOf } from '../../src/counters/ids.js';
import { APPLIED } from '../../src/counters/operation.js';
import { GOOD, LOSES_ANSWER, REFUSES } from './faulty-store.js';
import { Attempt, FLUSH_MS, IngestWorld, referenceStore, view } from './ingest-world.js';
import { LossyStore } from './lossy-store.js';
import { SimulatedClock } from './simulated-clock.js';

const RETAIN_MS = 10_000;
const RETAINED_MAX = 100_000;
const BATCH_MAX = 500;
const CHECKS_AT_ONCE = 16;
const MINUTE_MS = 60_000;
const SESSION = { hi: 1, lo: 2 };

describe('a store that lost its last commits', () => {
  test('is sent them again before the next, the same as before, and nobody is answered twice', async () => {
    const world = new LossyWorld();
    const attempts = await world.viewsOneByOne(4);
    await world.failOver(2);
    const next = world.submit(view('a'));
    await world.clock.advance(1_000);
    expect(world.numbers).toEqual(['0:1', '0:2', '0:3', '0:4', '0:5', '0:3', '0:4', '0:5']);
    expect(world.store.misuses).toEqual([]);
    expect([...attempts, next].map(({ answers }) => answers.join())).toEqual(Array(5).fill('settled'));
    expect([await world.views(), world.ingest.stats.replayedBatches]).toEqual([5, 2]);
  });

  test('is sent them when it returns, though nobody does anything', async () => {
    const world = new LossyWorld();
    await world.viewsOneByOne(4);
    await world.failOver(2);
    world.store.up();
    await world.clock.advance(1_000);
    expect(world.numbers.slice(4)).toEqual(['0:4', '0:3', '0:4']);
    expect([await world.views(), world.ingest.stats.replayedBatches]).toEqual([4, 2]);
  });

  test('a store that returns with everything is asked once, and new operations wait behind that', async () => {
    const world = new LossyWorld();
    await world.viewsOneByOne(2);
    world.store.conduct = () => ({ ...GOOD, endsAfterMs: 500 });
    world.store.up();
    const next = world.submit(view('a'));
    await world.clock.advance(499);
    expect([world.numbers, next.answers]).toEqual([['0:1', '0:2', '0:2'], []]);
    await world.clock.advance(1_000);
    expect([world.numbers, next.answers]).toEqual([['0:1', '0:2', '0:2', '0:3'], ['settled']]);
    expect(await world.views()).toBe(3);
  });

  test('operations that wait behind such a check are told UNAVAILABLE after 5 s, and done later', async () => {
    const world = new LossyWorld();
    await world.viewsOneByOne(2);
    world.store.conduct = () => REFUSES;
    world.store.up();
    const next = world.submit(view('a'));
    await world.clock.advance(6_000);
    expect(next.answers).toEqual(['UNAVAILABLE']);
    world.store.conduct = () => GOOD;
    await world.clock.advance(2_000);
    expect([next.answers, await world.views(), world.ingest.pending]).toEqual([['UNAVAILABLE'], 3, 0]);
  });

  test('an answer from before that is heard after its return is not believed for good', async () => {
    const world = new LossyWorld();
    world.store.conduct = () => ({ appliesAfterMs: 1, endsAfterMs: 500, answers: true });
    const attempt = world.submit(view('a'));
    await world.clock.advance(FLUSH_MS + 100);
    await world.failOver(1);
    world.store.up();
    await world.clock.advance(2_000);
    expect([attempt.answers, await world.views()]).toEqual([['settled'], 1]);
  });

  test('what was sent before and arrives late, into a place that was filled for it, is counted once', async () => {
    const world = new LossyWorld();
    await world.viewsOneByOne(1);
    await world.failOver(1);
    // The second arrives when the first has been sent again; the answer to that one is lost.
    const late = { appliesAfterMs: 300, endsAfterMs: 1, answers: false };
    const conducts = [late, GOOD, LOSES_ANSWER, { ...REFUSES, endsAfterMs: 400 }];
    world.store.conduct = () => conducts.shift() ?? GOOD;
    const second = world.submit(view('a'));
    await world.clock.advance(3_000);
    expect([second.answers, second.outcome, await world.views()]).toEqual([['settled'], APPLIED, 2]);
    expect([world.ingest.stats.unconfirmedOperations, world.incarnations]).toEqual([0, 1]);
  });

  test('at most 16 lanes ask at once whether it still has everything', async () => {
    const buckets = 64;
    const world = new LossyWorld({ buckets });
    const posts = Array.from({ length: 1_000 }, (_, i) => `p${i}`);
    for (const post of posts) world.submit(view(post));
    await world.clock.advance(1_000);
    expect(new Set(world.store.sent.map(({ batch }) => batch.bucket)).size).toBe(buckets);
    let [now, most] = [0, 0];
    world.store.conduct = () => {
      most = Math.max(most, (now += 1));
      world.clock.after(5, () => (now -= 1));
      return { appliesAfterMs: 1, endsAfterMs: 6, answers: true };
    };
    await world.failOver(30);
    world.store.up();
    world.store.up();
    await world.clock.advance(2_000);
    expect(most).toBe(CHECKS_AT_ONCE);
    const totals = await Promise.all(posts.map((post) => world.totals(post)));
    expect(totals.every(({ views }) => views === 1)).toBe(true);
  });
});

describe('a store that lost more than is retained', () => {
  test('what is left is counted under a new incarnation, what is lost is told once, and operations go on', async () => {
    const world = new LossyWorld();
    await world.viewsOneByOne(3);
    await world.clock.advance(3 * RETAIN_MS);
    await world.viewsOneByOne(2);
    for (let i = 0; i < 2; i++) {
      await world.failOver(4 + i);
      const next = world.submit(view('a'));
      await world.clock.advance(1_000);
      expect(next.answers).toEqual(['settled']);
      if (i === 0) expect([await world.views(), world.ingest.stats.lostBatches]).toEqual([4, 2]);
    }
    expect(world.numbers.slice(5, 9)).toEqual(['0:6', '1:1', '1:2', '1:3']);
    expect([world.store.misuses, world.warnings.length]).toEqual([[], 1]);
  });

  test('with nothing retained the next batch alone goes on', async () => {
    const world = new LossyWorld({ retainMs: 0 });
    await world.viewsOneByOne(3);
    expect(world.ingest.retained).toBe(0);
    await world.failOver(1);
    world.store.up();
    await world.clock.advance(100);
    expect(world.numbers).toHaveLength(3);
    const next = world.submit(view('a'));
    await world.clock.advance(1_000);
    expect([next.answers, await world.views()]).toEqual([['settled'], 3]);
    expect([world.ingest.stats.lostBatches, world.ingest.stats.replayedBatches]).toEqual([1, 0]);
  });
});

describe('a store that has more than it was sent', () => {
  test('the outcome is unknown: told UNAVAILABLE, counted, never sent again; the next goes on', async () => {
    const world = new LossyWorld();
    await world.viewsOneByOne(1);
    answerOnce(world, { kind: 'stale', last: 7 });
    const [lost, behind] = [world.submit(view('a', SESSION, 1)), world.submit(view('a'))];
    await world.clock.advance(FLUSH_MS);
    const next = world.submit(view('a'));
    await world.clock.advance(1_000);
    expect([lost, behind, next].map(({ answers }) => answers.join())).toEqual([
      'UNAVAILABLE',
      'UNAVAILABLE',
      'settled',
    ]);
    expect(world.numbers).toEqual(['0:1', '0:2', '1:1']);
    expect([await world.views(), world.ingest.stats.unconfirmedOperations, world.ingest.pending]).toEqual([2, 2, 0]);
  });
});

describe('a store that has forgotten a fence', () => {
  test('after a pause of hours the next batch is counted once and nothing is taken for lost', async () => {
    const world = new LossyWorld();
    await world.viewsOneByOne(2);
    await world.clock.advance(120 * MINUTE_MS);
    world.server.primary.forgetFences();
    const next = world.submit(view('a'));
    await world.clock.advance(1_000);
    expect([next.answers, await world.views(), world.numbers.slice(2)]).toEqual([['settled'], 3, ['0:3', '1:1']]);
    expect([world.ingest.stats.lostBatches, world.ingest.stats.unconfirmedOperations]).toEqual([0, 0]);
  });

  test('a lane that has been quiet for long has nothing checked by it', async () => {
    const world = new LossyWorld();
    await world.viewsOneByOne(1);
    // The machine slept: no timer ran.
    const wallMs = world.clock.wallMs.bind(world.clock);
    world.clock.wallMs = () => wallMs() + 120 * MINUTE_MS;
    world.server.primary.forgetFences();
    world.store.up();
    await world.clock.advance(1_000);
    expect([await world.views(), world.numbers, world.ingest.retained]).toEqual([1, ['0:1'], 0]);
  });

  test.each([
    { batch: 'first', before: 0 },
    { batch: 'third', before: 2 },
  ])('what was sent in the $batch batch up to 30 minutes ago is known to be there or not', async ({ before }) => {
    for (const applied of [true, false]) {
      const { world, attempts } = await unanswered({ before, applied, awayMs: 29 * MINUTE_MS });
      expect(attempts.map(({ answers }) => answers.join())).toEqual(['UNAVAILABLE', 'UNAVAILABLE']);
      expect([await world.views(), world.ingest.stats.unconfirmedOperations]).toEqual([before + 2, 0]);
    }
  });

  test.each([
    { batch: 'first', before: 0 },
    { batch: 'third', before: 2 },
  ])('of what was sent in the $batch batch before that, only operations with a mark go on', async ({ before }) => {
    for (const applied of [true, false]) {
      const forgets = true;
      const { world, attempts } = await unanswered({ before, applied, forgets, awayMs: 31 * MINUTE_MS });
      const [again, next] = [world.submit(view('a', SESSION, 1)), world.submit(view('a', SESSION, 2))];
      await world.clock.advance(1_000);
      expect([...attempts, again, next].map(({ answers }) => answers.join())).toEqual([
        'UNAVAILABLE',
        'UNAVAILABLE',
        'settled',
        'settled',
      ]);
      // With a mark and once; without, once if it was applied the first time; and the next.
      expect(await world.views()).toBe(before + 1 + (applied ? 1 : 0) + 1);
      expect([world.ingest.stats.unconfirmedOperations, world.ingest.pending]).toEqual([1, 0]);
    }
  });

  test('after an hour, when marks may be forgotten, none of them go on', async () => {
    const { world } = await unanswered({ before: 2, applied: true, forgets: true, awayMs: 61 * MINUTE_MS });
    expect([await world.views(), world.ingest.stats.unconfirmedOperations, world.ingest.pending]).toEqual([4, 2, 0]);
  });

  test('those who have not been told yet are told, when the process was stopped meanwhile', async () => {
    const world = new LossyWorld();
    world.store.conduct = () => REFUSES;
    const attempts = [world.submit(view('a')), world.submit(view('a', SESSION, 1))];
    await world.clock.advance(FLUSH_MS + 1);
    const wallMs = world.clock.wallMs.bind(world.clock);
    world.clock.wallMs = () => wallMs() + 40 * MINUTE_MS;
    world.store.conduct = () => GOOD;
    await world.clock.advance(1_000);
    expect(attempts.map(({ answers }) => answers.join())).toEqual(['UNAVAILABLE', 'settled']);
    expect([await world.views(), world.ingest.pending]).toEqual([1, 0]);
  });
});

describe('what is retained', () => {
  test('does not hold what waits for an answer', async () => {
    const world = new LossyWorld();
    await world.viewsOneByOne(1);
    await world.failOver(1);
    world.store.up();
    await world.clock.advance(1_000);
    const [first, again] = world.store.sent.map(({ batch }) => batch.operations[0]!);
    expect([first instanceof Attempt, again instanceof Attempt]).toEqual([true, false]);
    expect(again).toEqual(view('a'));
  });

  test('is dropped after its time, and then nothing runs', async () => {
    const world = new LossyWorld();
    await world.viewsOneByOne(3);
    expect(world.ingest.retained).toBe(3);
    await world.clock.advance(2 * RETAIN_MS);
    expect([world.ingest.retained, world.clock.timers]).toEqual([0, 0]);
  });

  test('is kept while the store is away, and while it hangs when it returns', async () => {
    const world = new LossyWorld();
    await world.viewsOneByOne(3);
    await world.failOver(2);
    await world.clock.advance(10 * MINUTE_MS);
    expect(world.ingest.retained).toBe(3);
    world.store.conduct = () => ({ ...REFUSES, endsAfterMs: 3 * RETAIN_MS });
    world.store.up();
    await world.clock.advance(4 * RETAIN_MS);
    world.store.conduct = () => GOOD;
    await world.clock.advance(4 * RETAIN_MS);
    expect([await world.views(), world.ingest.retained]).toEqual([3, 0]);
  });

  test('is at most 100,000 operations, the newest, of all lanes together', async () => {
    const buckets = 8;
    const world = new LossyWorld({ buckets });
    const posts = Array.from({ length: 100 }, (_, i) => `p${i}`);
    const ofBucket = Array.from({ length: buckets }, (_, b) => posts.find((post) => bucketOf(post, buckets) === b)!);
    let most = 0;
    for (let i = 0; i < 40; i++) {
      for (const post of ofBucket) world.submitMany(BATCH_MAX, post);
      await world.clock.advance(FLUSH_MS);
      most = Math.max(most, world.ingest.retained);
    }
    expect(most).toBeLessThanOrEqual(RETAINED_MAX);
    expect(most).toBeGreaterThan(RETAINED_MAX - 2 * buckets * BATCH_MAX);
    const kept = Math.floor(world.ingest.retained / BATCH_MAX);
    expect(kept).toBeLessThan(world.server.history.length);
    await world.failOver(kept);
    world.store.up();
    await world.clock.advance(5_000);
    const totals = await Promise.all(ofBucket.map((post) => world.totals(post)));
    expect(totals.map(({ views }) => views)).toEqual(Array(buckets).fill(40 * BATCH_MAX));
  });

  test('a drain does not wait for it', async () => {
    const world = new LossyWorld();
    await world.viewsOneByOne(3);
    let done = false;
    void world.ingest.drain(10_000).then(() => (done = true));
    await world.clock.advance(0);
    expect(done).toBe(true);
    world.store.up();
    await world.clock.advance(1_000);
    expect(world.numbers).toHaveLength(3);
  });
});

/** One gateway, and a server that can be replaced by a replica. */
class LossyWorld extends IngestWorld {
  readonly server: LossyStore;

  constructor({ buckets = 1, retainMs = RETAIN_MS }: { buckets?: number; retainMs?: number } = {}) {
    const clock = new SimulatedClock();
    const server = new LossyStore(referenceStore(buckets), clock);
    super({ buckets, retainMs, clock, inner: server });
    this.server = server;
  }

  /** Each in a batch of its own. */
  async viewsOneByOne(count: number): Promise<Attempt[]> {
    const attempts: Attempt[] = [];
    for (let i = 0; i < count; i++) {
      attempts.push(this.submit(view('a')));
      await this.clock.advance(FLUSH_MS + 2);
    }
    return attempts;
  }

  /** The store is another server, which lacks this many commits. It can be reached, and nobody has said so. */
  async failOver(commits: number): Promise<void> {
    this.store.down();
    await this.server.failOver(this.clock.nowMs() - this.server.history.at(-commits)!.atMs + 0.5);
    this.store.available = true;
  }

  async views(): Promise<number> {
    return (await this.totals('a')).views;
  }

  /** Which incarnation, from 0 in the order seen, and which number of it each batch had that was sent. */
  get numbers(): string[] {
    const seen = [...new Set(this.store.sent.map(({ batch }) => batch.incarnation))];
    return this.store.sent.map(({ batch }) => `${seen.indexOf(batch.incarnation)}:${batch.n}`);
  }

  get incarnations(): number {
    return new Set(this.store.sent.map(({ batch }) => batch.incarnation)).size;
  }
}

interface Unanswered {
  /** Batches that were confirmed before. */
  readonly before: number;
  /** Whether the batch had been applied when its answer was lost. */
  readonly applied: boolean;
  readonly awayMs: number;
  readonly forgets?: boolean;
}

/** A batch without an answer, of a view without a session and one with; and then the store away. */
async function unanswered({ before, applied, awayMs, forgets = false }: Unanswered) {
  const world = new LossyWorld();
  await world.viewsOneByOne(before);
  const conducts = [applied ? LOSES_ANSWER : REFUSES];
  world.store.conduct = () => conducts.shift() ?? REFUSES;
  const attempts = [world.submit(view('a')), world.submit(view('a', SESSION, 1))];
  await world.clock.advance(awayMs);
  if (forgets) world.server.primary.forgetFences();
  world.store.conduct = () => GOOD;
  await world.clock.advance(3_000);
  return { world, attempts };
}

function answerOnce({ inner }: IngestWorld, answer: CommitResult): void {
  const commit = inner.commit.bind(inner);
  inner.commit = () => {
    inner.commit = commit;
    return Promise.resolve(answer);
  };
}

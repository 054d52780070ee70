import { describe, expect, test } from '@jest/globals';
import type { CommitResult } from '../../src/counters/batch.js';
import { APPLIED } from '../../src/counters/operation.js';
import { GOOD, LOSES_ANSWER, REFUSES } from './faulty-store.js';
import { FLUSH_MS, type IngestWorld, view } from './ingest-world.js';
import { LossyWorld, RETAIN_MS } from './lossy-world.js';

const CHECKS_AT_ONCE = 256;
const SESSION = { hi: 1, lo: 2 };

describe('a store that lost its last commits', () => {
  test('a store that lost batches gets them again, unchanged, before the next, and no operation is acknowledged twice', async () => {
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

  test('a store that lost batches gets them when it reconnects, even without new operations', async () => {
    const world = new LossyWorld();
    await world.viewsOneByOne(4);
    await world.failOver(2);
    world.store.up();
    await world.clock.advance(1_000);
    expect(world.numbers.slice(4)).toEqual(['0:4', '0:3', '0:4']);
    expect([await world.views(), world.ingest.stats.replayedBatches]).toEqual([4, 2]);
  });

  test('a store that lost nothing gets one batch again, and new operations wait behind it', async () => {
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

  test('operations that wait behind a verification get UNAVAILABLE after 5 s, and are committed later', async () => {
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

  test('a result from before an outage that arrives after it does not end the verification', async () => {
    const world = new LossyWorld();
    world.store.conduct = () => ({ appliesAfterMs: 1, endsAfterMs: 500, answers: true });
    const attempt = world.submit(view('a'));
    await world.clock.advance(FLUSH_MS + 100);
    await world.failOver(1);
    world.store.up();
    await world.clock.advance(2_000);
    expect([attempt.answers, await world.views()]).toEqual([['settled'], 1]);
  });

  test('a batch that arrives late, after a replay of those before it, is counted once', async () => {
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
    expect([world.ingest.stats.unknownOutcomeOperations, world.producers]).toEqual([0, 1]);
  });

  test('at most 256 queues verify at the same time whether the store has everything', async () => {
    const buckets = 400;
    const world = new LossyWorld({ buckets });
    const posts = Array.from({ length: 8_000 }, (_, i) => `p${i}`);
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
  test('batches that are left are counted under a new producer id, the loss is logged once, and operations continue', async () => {
    const world = new LossyWorld();
    await world.viewsOneByOne(3);
    await world.clock.advance(3 * RETAIN_MS);
    await world.viewsOneByOne(2);
    await world.failOver(4);
    const next = world.submit(view('a'));
    await world.clock.advance(1_000);
    expect([next.answers, await world.views(), world.ingest.stats.lostBatches]).toEqual([['settled'], 4, 2]);
    expect([world.numbers.slice(5), world.store.misuses]).toEqual([['0:6', '1:1', '1:2', '1:3'], []]);

    await world.clock.advance(3 * RETAIN_MS);
    await world.failOver(1);
    const last = world.submit(view('a'));
    await world.clock.advance(1_000);
    expect([last.answers, await world.views(), world.ingest.stats.lostBatches]).toEqual([['settled'], 4, 3]);
    expect(world.warnings).toHaveLength(1);
  });

  test('with nothing retained, only the next batch is committed', async () => {
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
  test('an operation with an unknown outcome gets UNAVAILABLE, is counted as unknown and is not sent again', async () => {
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
    expect([await world.views(), world.ingest.stats.unknownOutcomeOperations, world.ingest.pending]).toEqual([2, 2, 0]);
  });
});

function answerOnce({ inner }: IngestWorld, answer: CommitResult): void {
  const commit = inner.commit.bind(inner);
  inner.commit = () => {
    inner.commit = commit;
    return Promise.resolve(answer);
  };
}

import { describe, expect, test } from '@jest/globals';
import { GOOD, LOSES_ANSWER, REFUSES } from './faulty-store.js';
import { FLUSH_MS, view } from './ingest-world.js';
import { LossyWorld } from './lossy-world.js';

const MINUTE_MS = 60_000;
const SESSION = { hi: 1, lo: 2 };

describe('a store that forgot the state of a producer', () => {
  test('after a pause of hours the next batch is counted once, and no batch counts as lost', async () => {
    const world = new LossyWorld();
    await world.viewsOneByOne(2);
    await world.clock.advance(120 * MINUTE_MS);
    world.server.primary.forgetProducerStates();
    const next = world.submit(view('a'));
    await world.clock.advance(1_000);
    expect([next.answers, await world.views(), world.numbers.slice(2)]).toEqual([['settled'], 3, ['0:3', '1:1']]);
    expect([world.ingest.stats.lostBatches, world.ingest.stats.unknownOutcomeOperations]).toEqual([0, 0]);
  });

  test('a queue that was idle for long verifies nothing', async () => {
    const world = new LossyWorld();
    await world.viewsOneByOne(1);
    // The machine slept: no timer ran.
    const wallMs = world.clock.wallMs.bind(world.clock);
    world.clock.wallMs = () => wallMs() + 120 * MINUTE_MS;
    world.server.primary.forgetProducerStates();
    world.store.up();
    await world.clock.advance(1_000);
    expect([await world.views(), world.numbers, world.ingest.retained]).toEqual([1, ['0:1'], 0]);
  });

  test.each([
    { batch: 'first', before: 0 },
    { batch: 'third', before: 2 },
  ])('whether the $batch batch was applied is certain for 30 minutes', async ({ before }) => {
    for (const applied of [true, false]) {
      const { world, attempts } = await unanswered({ before, applied, awayMs: 29 * MINUTE_MS });
      expect(attempts.map(({ answers }) => answers.join())).toEqual(['UNAVAILABLE', 'UNAVAILABLE']);
      expect([await world.views(), world.ingest.stats.unknownOutcomeOperations]).toEqual([before + 2, 0]);
    }
  });

  test.each([
    { batch: 'first', before: 0 },
    { batch: 'third', before: 2 },
  ])('of the $batch batch only operations with a session are retried after 30 minutes', async ({ before }) => {
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
      // With a mark once; without, if it was applied the first time; and the next. Of those before nothing is known either.
      expect(await world.views()).toBe(before + 1 + (applied ? 1 : 0) + 1);
      expect([world.ingest.stats.unknownOutcomeOperations, world.ingest.pending]).toEqual([before + 1, 0]);
    }
  });

  test('after an hour, when high-water marks may have expired, no operation is sent again', async () => {
    const { world } = await unanswered({ before: 2, applied: true, forgets: true, awayMs: 61 * MINUTE_MS });
    expect([await world.views(), world.ingest.stats.unknownOutcomeOperations, world.ingest.pending]).toEqual([4, 4, 0]);
  });

  test('operations that were not answered before the process was stopped get UNAVAILABLE afterwards', async () => {
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

interface Unanswered {
  /** How many batches were committed before. */
  readonly before: number;
  /** Whether the batch was applied when its result was lost. */
  readonly applied: boolean;
  readonly awayMs: number;
  readonly forgets?: boolean;
}

/** Loses the result of a batch, of one view without a session and one with, and takes the store down. */
async function unanswered({ before, applied, awayMs, forgets = false }: Unanswered) {
  const world = new LossyWorld();
  await world.viewsOneByOne(before);
  const conducts = [applied ? LOSES_ANSWER : REFUSES];
  world.store.conduct = () => conducts.shift() ?? REFUSES;
  const attempts = [world.submit(view('a')), world.submit(view('a', SESSION, 1))];
  await world.clock.advance(awayMs);
  if (forgets) world.server.primary.forgetProducerStates();
  world.store.conduct = () => GOOD;
  await world.clock.advance(3_000);
  return { world, attempts };
}

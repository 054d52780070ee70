import { describe, expect, test } from '@jest/globals';
import { APPLIED, DUPLICATE } from '../../src/counters/operation.js';
import type { AcceptedEvent } from '../../src/ingest/event-intake.js';
import { DirectIntake } from '../../src/ingest/direct-intake.js';
import { GOOD, REFUSES } from './faulty-store.js';
import { IngestWorld, view } from './ingest-world.js';

const PENDING_MAX = 50_000;
const SESSION = { hi: 1, lo: 2 };

describe('the intake without a log', () => {
  test('events are accepted when all of them are committed, duplicates too', async () => {
    const { world, intake } = createIntake();
    const outcomes: number[] = [];
    const events = [1, 2, 2].map((seq) => event(seq, (outcome) => outcomes.push(outcome)));
    const results = intake.accept(events);
    await world.clock.advance(100);
    expect(await results).toEqual([null, null, null]);
    expect(outcomes).toEqual([APPLIED, APPLIED, DUPLICATE]);
    expect(await world.totals('a')).toEqual({ likes: 0, views: 2 });
  });

  test('a request without events is accepted at once', async () => {
    expect(await createIntake().intake.accept([])).toEqual([]);
  });

  test('events for which there is no room are reported as shed, each by its index', async () => {
    const { world, intake } = createIntake();
    world.submitMany(PENDING_MAX - 2);
    const results = intake.accept([event(1), event(2), event(3)]);
    await world.clock.advance(10_000);
    expect(await results).toEqual([null, null, expect.objectContaining({ code: 'OVERLOADED', retryAfterMs: 1_000 })]);
  });

  test('a request whose events are all shed is rejected as a whole', async () => {
    const { world, intake } = createIntake();
    world.submitMany(PENDING_MAX);
    await expect(intake.accept([event(1), event(2)])).rejects.toMatchObject({ body: { code: 'OVERLOADED' } });
  });

  test('one unknown outcome makes the whole request UNAVAILABLE, and its repetition counts each event once', async () => {
    const { world, intake } = createIntake();
    world.store.conduct = () => REFUSES;
    world.submitMany(PENDING_MAX - 1, 'b');
    const first = intake.accept([event(1), event(2)]);
    const rejection = expect(first).rejects.toMatchObject({ body: { code: 'UNAVAILABLE', retryable: true } });
    await world.clock.advance(10_000);
    await rejection;
    world.store.conduct = () => GOOD;
    await world.clock.advance(10_000);
    const again = intake.accept([event(1), event(2)]);
    await world.clock.advance(10_000);
    expect(await again).toEqual([null, null]);
    expect(await world.totals('a')).toEqual({ likes: 0, views: 2 });
  });
});

function createIntake(): { world: IngestWorld; intake: DirectIntake } {
  const world = new IngestWorld();
  return { world, intake: new DirectIntake(world.ingest) };
}

function event(seq: number, onCounts: AcceptedEvent['onCounts'] = null): AcceptedEvent {
  return { ...view('a', SESSION, seq), notifiesActor: false, onCounts };
}

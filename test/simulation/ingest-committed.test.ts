import { expect, test } from '@jest/globals';
import { APPLIED, DUPLICATE } from '../../src/counters/operation.js';
import type { CommittedBatch, RejectedOperations } from '../../src/ingest/ingest-events.js';
import { GOOD } from './faulty-store.js';
import { FLUSH_MS, IngestWorld, view } from './ingest-world.js';

const PENDING_MAX = 50_000;
const DEADLINE_MS = 5_000;
const SESSION = { hi: 1, lo: 2 };

function observe(world: IngestWorld): { committed: CommittedBatch[]; rejected: RejectedOperations[] } {
  const emitted = { committed: [] as CommittedBatch[], rejected: [] as RejectedOperations[] };
  world.ingest.committed.subscribe((batch) => emitted.committed.push(batch));
  world.ingest.rejected.subscribe((operations) => emitted.rejected.push(operations));
  return emitted;
}

test('a committed batch is emitted once, after its operations were acknowledged', async () => {
  const world = new IngestWorld();
  const { committed, rejected } = observe(world);
  const acknowledged: unknown[] = [];
  world.ingest.committed.subscribe(() => acknowledged.push(attempts.map(({ answers }) => answers)));
  const attempts = [world.submit(view('a', SESSION, 1)), world.submit(view('a', SESSION, 1))];
  await world.clock.advance(2 * FLUSH_MS);
  expect(committed).toMatchObject([{ bucket: 0, operations: attempts, answeredFrom: 0 }]);
  expect([...committed[0]!.outcomes]).toEqual([APPLIED, DUPLICATE]);
  expect(committed[0]!.counts.get('a')).toMatchObject({ totals: [0, 1] });
  expect(acknowledged).toEqual([[['settled'], ['settled']]]);
  expect(rejected).toEqual([]);
});

test('operations that missed their deadline are emitted as rejected, and again with their batch when it is committed', async () => {
  const world = new IngestWorld();
  const { committed, rejected } = observe(world);
  world.store.conduct = () => ({ ...GOOD, endsAfterMs: DEADLINE_MS + 2_000 });
  const late = [world.submit(view('a')), world.submit(view('a'))];
  await world.clock.advance(DEADLINE_MS + 1_000);
  expect(rejected).toEqual([{ operations: late, code: 'UNAVAILABLE' }]);
  expect(committed).toEqual([]);
  await world.clock.advance(2_000);
  expect(committed).toMatchObject([{ operations: late, answeredFrom: late.length }]);
  expect(rejected).toHaveLength(1);
});

test('operations that are shed in one turn are emitted as rejected together', async () => {
  const world = new IngestWorld();
  const { rejected } = observe(world);
  world.store.conduct = () => ({ ...GOOD, endsAfterMs: 1_000 });
  world.submitMany(PENDING_MAX);
  const shed = world.submitMany(3);
  await world.clock.advance(1);
  expect(rejected).toEqual([{ operations: shed, code: 'OVERLOADED' }]);
});

test('a replay of retained batches is not emitted', async () => {
  const world = new IngestWorld({ replayWindowMs: 60_000 });
  const { committed } = observe(world);
  world.submit(view('a'));
  await world.clock.advance(2 * FLUSH_MS);
  world.store.reconnected.next();
  await world.clock.advance(1_000);
  expect(world.store.sent).toHaveLength(2);
  expect(committed).toHaveLength(1);
});

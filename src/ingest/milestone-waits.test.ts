import { beforeEach, expect, test } from '@jest/globals';
import { Subject } from 'rxjs';
import { LIKES, Metrics, VIEWS } from '../counters/metrics.js';
import { SimulatedClock } from '../../test/simulation/simulated-clock.js';
import type { CommittedBatch, ForwardedOutcome, StalledOperation } from './ingest-events.js';
import { MilestoneWaits } from './milestone-waits.js';
import type { PendingOperation } from './pending-operation.js';

let clock: SimulatedClock;
let events: {
  stalled: Subject<StalledOperation>;
  forwarded: Subject<ForwardedOutcome>;
  committed: Subject<Pick<CommittedBatch, 'operations'>>;
};
let log: string[];
/** Whether the log takes a line. */
let hasRoom: boolean;
let waits: MilestoneWaits;

beforeEach(() => {
  clock = new SimulatedClock();
  events = { stalled: new Subject(), forwarded: new Subject(), committed: new Subject() };
  log = [];
  hasRoom = true;
  const metrics = Metrics.parse('likes:toggle,views:tally');
  waits = new MilestoneWaits(events, metrics, clock, {
    warn: (_subject, message) => hasRoom && log.push(message) > 0,
  });
});

function operation(post: string, metric = VIEWS, value = 1): PendingOperation {
  return { post, metric, value, acceptedAtMs: clock.nowMs() } as PendingOperation;
}

function stall(one: PendingOperation, regions = ['us'], cause: StalledOperation['cause'] = 'silent'): void {
  events.stalled.next({ operation: one, regions, cause });
}

test('the metrics that wait are counted for each region, with the time of the first', async () => {
  stall(operation('a'));
  await clock.advance(3_000);
  stall(operation('b'), ['us', 'ap'], 'unconfirmed');
  stall(operation('a'));
  await clock.advance(1_000);
  expect([...waits.entries()]).toEqual([
    { region: 'us', count: 2, seconds: 4 },
    { region: 'ap', count: 1, seconds: 1 },
  ]);
});

test.each([
  ['silent', 'make us reachable, or take over with PUT /admin/milestones and home set to this region'],
  [
    'unconfirmed',
    'make us reachable, remove what is lost for good from PEERS, or disarm with DELETE /admin/milestones',
  ],
  [
    'removed',
    'us is not in PEERS, so take over with PUT /admin/milestones and home set to this region, or list it again',
  ],
  ['waiting', 'the log of us says which regions it waits for itself'],
] as const)('a wait of more than 2 s that is %s is logged once, with what ends it', async (cause, remedy) => {
  stall(operation('a'), ['us'], cause);
  await clock.advance(1_000);
  stall(operation('a'), ['us'], cause);
  expect(log).toEqual([]);
  await clock.advance(2_000);
  stall(operation('a'), ['us'], cause);
  stall(operation('a'), ['us'], cause);
  expect(log).toEqual([`views of post a has waited 3 s for region us near a milestone: ${remedy}`]);
  await clock.advance(1_000);
  events.forwarded.next({ operation: operation('a'), outcome: 1 });
  expect(log.slice(1)).toEqual(['views of post a has waited 4 s for region us near a milestone, and is counted again']);
  expect([...waits.entries()]).toEqual([]);
});

test('a wait ends with an operation that is counted here, but with none of another metric and none that takes away', () => {
  stall(operation('a'));
  events.committed.next({ operations: [operation('a', LIKES), operation('a', VIEWS, -1), operation('b')] });
  expect([...waits.entries()]).toHaveLength(1);
  events.committed.next({ operations: [operation('a')] });
  expect([...waits.entries()]).toEqual([]);
});

test('a wait is forgotten a minute after the last retry', async () => {
  stall(operation('a'));
  await clock.advance(59_000);
  stall(operation('a'));
  await clock.advance(59_000);
  expect([...waits.entries()]).toHaveLength(1);
  await clock.advance(1_000);
  expect([...waits.entries()]).toEqual([]);
});

test('at most 1,000 metrics of posts are reported at a time', () => {
  for (let i = 0; i < 1_500; i++) stall(operation(`post-${i}`));
  expect([...waits.entries()]).toEqual([{ region: 'us', count: 1_000, seconds: 0 }]);
});

test('a wait for which the log has no room is logged with a later retry', async () => {
  stall(operation('a'));
  await clock.advance(3_000);
  hasRoom = false;
  stall(operation('a'));
  hasRoom = true;
  stall(operation('a'));
  expect(log).toHaveLength(1);
  expect(log[0]).toContain('views of post a has waited 3 s for region us');
});

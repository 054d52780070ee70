import { expect, test } from '@jest/globals';
import { Subject } from 'rxjs';
import { APPLIED, DUPLICATE, ON, type Operation } from '../counters/operation.js';
import type { CommittedBatch, ForwardedOutcome, RejectedOperations } from './ingest-events.js';
import { OperationCounts } from './operation-counts.js';
import type { PendingOperation } from './pending-operation.js';

function world() {
  const committed = new Subject<CommittedBatch>();
  const rejected = new Subject<RejectedOperations>();
  const forwarded = new Subject<ForwardedOutcome>();
  const counts = new OperationCounts(committed, rejected, forwarded);
  return { counts, committed, rejected, forwarded };
}

function operationsOf(...kinds: Operation['kind'][]): PendingOperation[] {
  return kinds.map((kind) => ({ kind }) as PendingOperation);
}

function batch(operations: PendingOperation[], outcomes: number[], answeredFrom = 0): CommittedBatch {
  return { bucket: 0, operations, outcomes: Uint8Array.from(outcomes), counts: new Map(), answeredFrom };
}

test('operations are counted by kind and result', () => {
  const { counts, committed, rejected } = world();
  committed.next(batch(operationsOf('add', 'add', 'set'), [APPLIED, APPLIED, DUPLICATE]));
  rejected.next({ operations: operationsOf('add', 'add'), code: 'OVERLOADED' });
  counts.add('subscribe', 'RATE_LIMITED');
  expect([...counts.entries()]).toEqual([
    { kind: 'add', result: 'applied', count: 2 },
    { kind: 'add', result: 'OVERLOADED', count: 2 },
    { kind: 'set', result: 'duplicate', count: 1 },
    { kind: 'subscribe', result: 'RATE_LIMITED', count: 1 },
  ]);
});

test('the state that an operation leaves a toggle in does not change its result', () => {
  const { counts, committed } = world();
  const outcomes = [APPLIED, APPLIED | ON, 0, ON, DUPLICATE, DUPLICATE | ON];
  committed.next(batch(operationsOf('set', 'set', 'set', 'set', 'set', 'set'), outcomes));
  expect([...counts.entries()].map(({ result, count }) => [result, count])).toEqual([
    ['applied', 2],
    ['unchanged', 2],
    ['duplicate', 2],
  ]);
});

test('an operation that timed out before its batch was committed is counted once, as rejected', () => {
  const { counts, committed, rejected } = world();
  const operations = operationsOf('add', 'add');
  rejected.next({ operations: operations.slice(0, 1), code: 'UNAVAILABLE' });
  committed.next(batch(operations, [APPLIED, APPLIED], 1));
  expect([...counts.entries()]).toEqual([
    { kind: 'add', result: 'UNAVAILABLE', count: 1 },
    { kind: 'add', result: 'applied', count: 1 },
  ]);
});

test('an operation that another region does is counted by kind here, and apart in the other region', () => {
  const [add] = operationsOf('add');
  const here = world();
  here.forwarded.next({ operation: add!, outcome: DUPLICATE });
  expect([...here.counts.entries()]).toEqual([{ kind: 'add', result: 'duplicate', count: 1 }]);
  const there = world();
  const received = { ...add!, isForwarded: true as const };
  there.committed.next(batch([received], [DUPLICATE]));
  there.rejected.next({ operations: [received], code: 'UNAVAILABLE' });
  there.forwarded.next({ operation: received, outcome: APPLIED });
  expect([...there.counts.entries()]).toEqual([]);
  expect([...there.counts.fromPeers]).toEqual([
    ['duplicate', 1],
    ['UNAVAILABLE', 1],
    ['applied', 1],
  ]);
});

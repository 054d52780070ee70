import { beforeEach, expect, test } from '@jest/globals';
import { MemoryBucket } from '../../../test/contract/memory-bucket.js';
import { key, like, METRICS, START_MS, view } from '../../../test/contract/operations.js';
import { apply } from '../apply.js';
import { computeTotal } from '../bucket.js';
import { LIKES, VIEWS } from '../metrics.js';
import type { ArmResult, HomeMode } from '../milestones.js';
import { APPLIED, ELSEWHERE, ON, type Operation } from '../operation.js';
import { HOME_RULES } from './home-rules.js';
import { newReplicationState, ReplicationState } from './replication-state.js';

const POST = 'p';
const N = 9;

let bucket: MemoryBucket;
let batchNumber: number;
/** Whether all regions have confirmed the home. */
let hasConfirmations: boolean;

beforeEach(() => {
  hasConfirmations = false;
  batchNumber = 0;
  const rules = { ...HOME_RULES, waitsForSync: false, hasConfirmationOf: () => hasConfirmations };
  const state = new ReplicationState('eu', newReplicationState(0));
  const about = { metrics: METRICS, peers: ['ap', 'us'], rules };
  bucket = new MemoryBucket({ region: 'eu', epoch: 1, nonce: 10 }, state, about);
  bucket.setPost(POST, { v: 1, updatedAtMs: START_MS, metrics: [] });
});

function receiveHome(metric: number, number: number, mode: HomeMode): void {
  const home = { region: 'us', number, mode };
  bucket.homes.exchange.merge(POST, { metric, home, confirmations: [], reached: [] });
}

function takeOver(metric: number, mode: 'order' | 'strict'): ArmResult {
  const total = computeTotal(bucket.post(POST)!.metrics[metric]);
  const options = { mode, takesOver: true, ...(mode === 'strict' && { from: N - 1 }) };
  return bucket.homes.arm(POST, metric, N, options, total, bucket.replication.now(0));
}

function disarm(metric: number): void {
  bucket.homes.disarm(POST, metric, N, bucket.replication.now(0));
}

function homeOf(metric: number): unknown {
  return bucket.homes.exchange.get(POST, metric).home;
}

function outcome(operation: Operation): number {
  const batch = {
    bucket: 0,
    producerId: 'prod-one',
    batchNumber: ++batchNumber,
    atMs: START_MS,
    operations: [operation],
  };
  const result = apply(bucket, METRICS, batch);
  if (result.kind !== 'applied') throw new Error(result.kind);
  return result.outcomes[0]!;
}

test('a region takes over at once, even if the count is below its start', () => {
  receiveHome(VIEWS, 1, 'strict');
  expect(takeOver(VIEWS, 'strict')).toMatchObject({ kind: 'armed' });
  expect(homeOf(VIEWS)).toEqual({ region: 'eu', number: 2, mode: 'strict' });
});

test('a region that has taken over releases only after all have confirmed it, because the former home may still decide', () => {
  receiveHome(VIEWS, 1, 'strict');
  takeOver(VIEWS, 'strict');
  disarm(VIEWS);
  bucket.homes.settle(POST, VIEWS, bucket.post(POST)!);
  expect(homeOf(VIEWS)).toEqual({ region: 'eu', number: 2, mode: 'strict' });
  expect(outcome(view(POST))).toBe(ELSEWHERE);
  hasConfirmations = true;
  bucket.homes.settle(POST, VIEWS, bucket.post(POST)!);
  expect(homeOf(VIEWS)).toEqual({ region: 'eu', number: 3, mode: 'released' });
});

test('a region that has released after a takeover counts and claims again without waiting for others', () => {
  receiveHome(VIEWS, 1, 'strict');
  takeOver(VIEWS, 'strict');
  hasConfirmations = true;
  disarm(VIEWS);
  hasConfirmations = false;
  expect(outcome(view(POST))).toBe(APPLIED);
  bucket.homes.arm(POST, VIEWS, N, { mode: 'strict', from: 1 }, 1, bucket.replication.now(0));
  expect(homeOf(VIEWS)).toEqual({ region: 'eu', number: 4, mode: 'strict' });
  expect(outcome(view(POST))).toBe(APPLIED);
});

test('a region does not take over in order from a strict home, because others would count while that may still decide', () => {
  receiveHome(LIKES, 1, 'strict');
  expect(takeOver(LIKES, 'order')).toEqual({ kind: 'mode', mode: 'strict' });
  expect(homeOf(LIKES)).toEqual({ region: 'us', number: 1, mode: 'strict' });
  receiveHome(LIKES, 2, 'released');
  expect(takeOver(LIKES, 'order')).toMatchObject({ kind: 'armed' });
  expect(outcome(like(POST, key(1)))).toBe(APPLIED | ON);
});

import { beforeEach, expect, test } from '@jest/globals';
import { MemoryBucket } from '../../../test/contract/memory-bucket.js';
import { key, METRICS, START_MS, view } from '../../../test/contract/operations.js';
import { apply } from '../apply.js';
import { VIEWS } from '../metrics.js';
import type { HomeMode } from '../milestones.js';
import { APPLIED, ELSEWHERE, type Operation } from '../operation.js';
import { HOME_RULES, type HomeRules } from './home-rules.js';
import { newReplicationState, ReplicationState } from './replication-state.js';

const SESSION = key(7);

let bucket: MemoryBucket;
let batchNumber: number;
let homeNumber: number;
let peers: string[];

function open(own: Partial<HomeRules> = {}): void {
  peers = ['ap', 'us'];
  const state = new ReplicationState('eu', newReplicationState(0));
  const rules = { ...HOME_RULES, ...own };
  bucket = new MemoryBucket({ region: 'eu', epoch: 1, nonce: 10 }, state, { metrics: METRICS, peers, rules });
  bucket.setPost('p', { v: 1, updatedAtMs: START_MS, metrics: [] });
}

beforeEach(() => {
  batchNumber = 0;
  homeNumber = 0;
  open();
});

function receiveHome(region: string, mode: HomeMode = 'strict'): void {
  const home = { region, number: ++homeNumber, mode };
  bucket.homes.exchange.merge('p', { metric: VIEWS, home, confirmations: [], reached: [] });
}

function outcome(operation: Operation): number {
  const about = { bucket: 0, producerId: 'prod-one', batchNumber: ++batchNumber, atMs: START_MS };
  const result = apply(bucket, METRICS, { ...about, operations: [operation] });
  if (result.kind !== 'applied') throw new Error(result.kind);
  return result.outcomes[0]!;
}

/** Has this region, a former home, forward an operation of another region. @returns the outcome of its retry after the release */
function retryOnward(hops: number): number {
  receiveHome('us');
  const operation = { ...view('p', 1, { session: SESSION, seq: 1 }), isForwarded: true as const, hops };
  expect(outcome(operation)).toBe(ELSEWHERE);
  expect(bucket.homes.forwardTo(operation)).toBe('us');
  receiveHome('us', 'released');
  return outcome(operation);
}

test('a former home sends a retry of another region where it sent the operation, after the release, too', () => {
  expect(retryOnward(1)).toBe(ELSEWHERE);
  expect(bucket.homes.forwardTo({ ...view('p', 1, { session: SESSION, seq: 1 }), isForwarded: true, hops: 1 })).toBe(
    'us',
  );
});

test('without a mark the former home would count it a second time', () => {
  open({ keepsMarkOf: ({ isForwarded }) => isForwarded !== true });
  expect(retryOnward(1)).toBe(APPLIED);
});

test('the last region that an operation may reach counts it after the release, because it has sent it nowhere', () => {
  expect(retryOnward(2)).toBe(APPLIED);
});

test('operations that other regions have forwarded are not sent back to them for those of the own clients', () => {
  receiveHome('us');
  expect(outcome(view('p', 1, { session: SESSION, seq: 1 }))).toBe(ELSEWHERE);
  receiveHome('us', 'released');
  expect(outcome({ ...view('p', 1, { session: SESSION, seq: 1 }), isForwarded: true, hops: 1 })).toBe(APPLIED);
});

/** Forwards two operations of a session to two homes. @returns where the retry of the first goes */
function retryFirst(): string | null {
  const [first, second] = [1, 2].map((seq) => view('p', 1, { session: SESSION, seq })) as [Operation, Operation];
  receiveHome('us');
  expect(outcome(first)).toBe(ELSEWHERE);
  receiveHome('ap');
  expect(outcome(second)).toBe(ELSEWHERE);
  expect(bucket.homes.forwardTo(second)).toBe('ap');
  expect(outcome(first)).toBe(ELSEWHERE);
  return bucket.homes.forwardTo(first);
}

test('a retry goes to the home that got the operation, although a later home got later ones of the session', () => {
  expect(retryFirst()).toBe('us');
});

test('the last home whose mark covers it would count it a second time if the later operation has not arrived', () => {
  open({ selectForwarded: (marks) => marks[0]?.[0] });
  expect(retryFirst()).toBe('ap');
});

test('a retry of what was forwarded to a region that is no longer in PEERS is counted, and does not wait until its mark has expired', () => {
  const operation = view('p', 1, { session: SESSION, seq: 1 });
  receiveHome('us');
  expect(outcome(operation)).toBe(ELSEWHERE);
  peers.pop();
  expect(outcome(operation)).toBe(ELSEWHERE);
  receiveHome('ap', 'released');
  expect(outcome(operation)).toBe(APPLIED);
});

import { beforeEach, expect, test } from '@jest/globals';
import { ReferenceStore } from '../../test/contract/reference-store.js';
import { SimulatedClock } from '../../test/simulation/simulated-clock.js';
import { Metrics } from '../counters/metrics.js';
import type { BucketStatus } from '../store/replicated-store.js';
import { FullSyncQueue } from './full-sync-queue.js';
import { PeerProgress } from './peer-progress.js';

const BUCKETS = [0, 1, 2];

let queue: FullSyncQueue;
let progress: PeerProgress;
let statuses: ReadonlyMap<number, BucketStatus>;

beforeEach(async () => {
  const own = { region: 'eu', epoch: 1, nonce: 1 };
  const store = new ReferenceStore(Metrics.parse('likes:toggle,views:tally'), BUCKETS.length, own, () => 1);
  progress = new PeerProgress(new SimulatedClock());
  queue = new FullSyncQueue(store, 'us', progress, ['us']);
  statuses = new Map((await store.bucketStatus(BUCKETS)).map((status, bucket) => [bucket, status]));
  for (const bucket of BUCKETS) ack(bucket);
});

function ack(bucket: number): void {
  const none = { epoch: 0, nonce: 0, upTo: 0, incarnationRejected: false, backfilling: false, fullySynced: false };
  progress.set(bucket, { bucket, ...none, receiver: { epoch: 1, nonce: 2 } });
}

function runningBuckets(): number[] {
  return BUCKETS.filter((bucket) => queue.isRunning(bucket));
}

test('a full sync sends all buckets that waited when it started', () => {
  expect(queue.runOrStart(statuses)).toBeNull();
  queue.add(0);
  queue.add(1);
  const sync = queue.runOrStart(statuses);
  queue.add(2);
  expect(queue.runOrStart(statuses)).toBe(sync);
  expect([runningBuckets(), queue.isWaiting(2), queue.started]).toEqual([[0, 1], true, 1]);
  queue.finish();
  queue.runOrStart(statuses);
  expect([runningBuckets(), queue.started]).toEqual([[2], 2]);
});

test('a bucket without an ack of the peer does not start a full sync', () => {
  progress.delete(0);
  queue.add(0);
  expect([queue.runOrStart(statuses), queue.isWaiting(0)]).toEqual([null, true]);
});

test('a failed full sync is restarted with the buckets that were not dropped', () => {
  for (const bucket of BUCKETS) queue.add(bucket);
  const sync = queue.runOrStart(statuses)!;
  queue.drop(1);
  queue.restart(sync);
  expect(BUCKETS.map((bucket) => queue.isWaiting(bucket))).toEqual([true, false, true]);
  expect([queue.runOrStart(statuses) === sync, runningBuckets()]).toEqual([false, [0, 2]]);
});

test('buckets that another gateway leases leave the queue and the running full sync', () => {
  queue.add(0);
  queue.add(1);
  queue.runOrStart(statuses);
  queue.add(2);
  queue.keepOnly(new Set([0]));
  expect([runningBuckets(), queue.isWaiting(2)]).toEqual([[0], false]);
});

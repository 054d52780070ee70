import { beforeEach, describe, expect, it } from '@jest/globals';
import { MemoryBucket } from '../../test/contract/memory-bucket.js';
import { key, like, METRICS, postIn, START_MS, unlike, view } from '../../test/contract/operations.js';
import { apply } from './apply.js';
import { ensureMetricState } from './bucket.js';
import { checkMembers } from './check-members.js';
import { LIKES, VIEWS } from './metrics.js';
import { disarm, type ReachedMilestone } from './milestones.js';
import { APPLIED, ON, type Operation, REACHED } from './operation.js';
import { mergeDelta } from './replication/merge-delta.js';
import { buildFullPost, emptyDelta } from './replication/build-delta.js';
import { newReplicationState, ReplicationState } from './replication/replication-state.js';

const POST = postIn(0);
const ANN = key(1);
const BOB = key(2);
const NOBODY = { actor: null, session: null, seq: 0, value: 0, missed: true };

let bucket: MemoryBucket;
let batches = 0;

beforeEach(() => {
  bucket = newRegion('eu');
});

function newRegion(region: string): MemoryBucket {
  return new MemoryBucket({ region, epoch: 1, nonce: 1 }, new ReplicationState(region, newReplicationState(0)));
}

function outcomes(operations: readonly Operation[], to = bucket): number[] {
  const batch = { bucket: 0, producerId: `producer-${++batches}`, batchNumber: 1, atMs: START_MS, operations };
  const result = apply(to, METRICS, batch);
  if (result.kind !== 'applied') throw new Error(result.kind);
  return [...result.outcomes];
}

function armed(metric: number): readonly number[] {
  return bucket.milestones.get(POST, metric)?.armed ?? [];
}

function reached(metric: number): readonly ReachedMilestone[] {
  return bucket.milestones.get(POST, metric)?.reached ?? [];
}

function setArmed(metric: number, ...numbers: number[]): void {
  bucket.milestones.set(POST, metric, { armed: numbers, reached: reached(metric) }, []);
}

describe('a total that passes a milestone by no operation', () => {
  it('a repair of members leaves a record without an actor, and the next like is not named', () => {
    setArmed(LIKES, 2, 3);
    outcomes([like(POST, ANN)]);
    const state = bucket.post(POST)!;
    bucket.setMember(POST, LIKES, BOB, true);
    expect(checkMembers(bucket, METRICS, [POST], true).changed).toMatchObject([{ v: state.v + 1 }]);
    expect(reached(LIKES)).toMatchObject([{ n: 2, ...NOBODY, total: 2, v: 2, region: 'eu' }]);
    expect(outcomes([like(POST, key(3))])).toEqual([APPLIED | ON | REACHED]);
    expect(reached(LIKES)).toMatchObject([{ n: 2 }, { n: 3, actor: key(3), missed: false }]);
  });

  it('a merge leaves records without an actor, for tallies and for toggles', () => {
    setArmed(VIEWS, 10, 100);
    setArmed(LIKES, 2);
    outcomes([view(POST, 9), like(POST, ANN)]);
    const other = newRegion('us');
    outcomes([view(POST, 5), like(POST, BOB)], other);
    const delta = { ...emptyDelta('full-sync', 0, other, 0), posts: [buildFullPost(other, METRICS, POST)] };
    expect(mergeDelta(bucket, METRICS, delta).changed).toMatchObject([{ totals: [2, 14, 0, 0], v: 2 }]);
    expect(reached(VIEWS)).toMatchObject([{ n: 10, ...NOBODY, total: 14, v: 2, atMs: START_MS }]);
    expect(reached(LIKES)).toMatchObject([{ n: 2, ...NOBODY, total: 2, v: 2 }]);
    expect([armed(VIEWS), armed(LIKES)]).toEqual([[100], []]);
  });

  it('an operation is not named for what the total had passed before it', () => {
    outcomes([view(POST, 7), like(POST, ANN)]);
    setArmed(VIEWS, 5, 7, 8);
    setArmed(LIKES, 1);
    expect(outcomes([unlike(POST, BOB), like(POST, BOB), view(POST)])).toEqual([0, APPLIED | ON, APPLIED | REACHED]);
    expect(reached(VIEWS)).toMatchObject([
      { n: 5, ...NOBODY, total: 8 },
      { n: 7, ...NOBODY },
      { n: 8, value: 1, missed: false },
    ]);
    expect(reached(LIKES)).toMatchObject([{ n: 1, ...NOBODY, total: 2 }]);
  });

  it('a state whose total has grown without a change names nobody', () => {
    setArmed(VIEWS, 4);
    outcomes([view(POST)]);
    const state = bucket.post(POST)!;
    ensureMetricState(state, LIKES).members = 1;
    bucket.setPost(POST, state);
    setArmed(LIKES, 1);
    outcomes([view(POST)]);
    expect(reached(LIKES)).toMatchObject([{ n: 1, ...NOBODY, total: 1 }]);
    expect(reached(VIEWS)).toEqual([]);
  });
});

describe('a bucket without milestones', () => {
  it('a bucket whose last milestone was disarmed has none', () => {
    setArmed(VIEWS, 4, 5);
    expect([bucket.milestones.isEmpty, bucket.milestones.armedCount]).toEqual([false, 2]);
    for (const n of [4, 5]) bucket.milestones.set(POST, VIEWS, disarm(bucket.milestones.get(POST, VIEWS)!, n)!, []);
    expect([bucket.milestones.isEmpty, bucket.milestones.armedCount]).toEqual([true, 0]);
    expect(bucket.milestones.get(POST, VIEWS)).toBeUndefined();
  });
});

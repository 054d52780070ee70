import { beforeEach, expect, it } from '@jest/globals';
import { MemoryBucket } from '../../../test/contract/memory-bucket.js';
import { key, METRICS, RULED_METRICS, START_MS } from '../../../test/contract/operations.js';
import { mergeDelta } from './merge-delta.js';
import { LIKES } from '../metrics.js';
import { newReplicationState, ReplicationState } from './replication-state.js';
import { buildDelta } from './build-delta.js';
import type { ToggleRegister, Delta } from './delta.js';
import { nextStamp, toRegionNumber } from './hybrid-clock.js';

const POST = 'post';
const LIMIT = 10;

let bucket: MemoryBucket;

beforeEach(() => {
  bucket = new MemoryBucket({ region: 'eu', epoch: 1, nonce: 10 }, new ReplicationState('eu', newReplicationState(0)));
});

function stampOf(region: string, ms: number): number {
  return nextStamp(0, START_MS + ms, toRegionNumber(region));
}

/** A delta of the region with an update of one like. */
function likeDelta(region: string, stamp: number, on: boolean): Delta {
  const registers = [{ metric: LIKES, actor: key(1), stamp, on }];
  const posts = [{ post: POST, updatedAtMs: START_MS, entries: [], registers, members: [] }];
  const stamps = { startedAtStamp: 0, after: 0, upTo: 0, ackedUpTo: 0, stableStamp: 0 };
  return {
    kind: 'full-sync',
    bucket: 0,
    source: { region, epoch: 1, nonce: 20 },
    predecessors: [],
    ...stamps,
    posts,
    fullSyncReceiver: null,
  };
}

function forwarded(): ToggleRegister[] {
  return buildDelta(0, bucket, 0, LIMIT)!.posts.flatMap(({ registers }) => registers);
}

it('an update is forwarded if it comes from another region than its origin', () => {
  const stamp = stampOf('ap', 50);
  mergeDelta(bucket, METRICS, likeDelta('ap', stamp, true));
  expect(forwarded()).toEqual([]);
  mergeDelta(bucket, METRICS, likeDelta('us', stamp, true));
  expect(forwarded()).toEqual([]);
  mergeDelta(bucket, METRICS, likeDelta('us', stamp + 256, false));
  expect(forwarded()).toEqual([{ metric: LIKES, actor: key(1), stamp: stamp + 256, on: false }]);
});

it('of two updates with one stamp the like wins, in either order', () => {
  const stamp = stampOf('ap', 50);
  const likes = (): number => bucket.post(POST)?.metrics.at(LIKES)?.members ?? 0;
  for (const [on, expected] of [
    [false, 0],
    [true, 1],
    [false, 1],
  ] as const) {
    mergeDelta(bucket, METRICS, likeDelta('ap', stamp, on));
    expect(likes()).toBe(expected);
  }
});

/** A repair of a post that changed last at START_MS + ms, with one member of a metric. */
function repairDelta(metric: number, ms: number): Delta {
  const after = stampOf('us', 0);
  const members = [{ metric, subset: 0, subsets: 1, actors: [key(1)] }];
  const posts = [{ post: POST, updatedAtMs: START_MS + ms, entries: [], registers: [], members }];
  return { ...likeDelta('us', 0, true), kind: 'repair', after, upTo: after, stableStamp: after, posts };
}

it.each([
  ['repaired', -1, 1],
  ['not repaired', 0, 0],
])('a member of a post is %s whose last change at the source was %d ms after the digests', (_, ms, expected) => {
  mergeDelta(bucket, METRICS, repairDelta(LIKES, ms));
  expect(bucket.post(POST)?.metrics.at(LIKES)?.members ?? 0).toBe(expected);
});

it.each([
  ['first', [1, 0]],
  ['second', [1, 0]],
])('a repair keeps the first option of a choice, whichever region has it: the %s here', (option, expected) => {
  const [yes, no] = [RULED_METRICS.byName('yes')!.index, RULED_METRICS.byName('no')!.index];
  const [own, theirs] = option === 'first' ? [yes, no] : [no, yes];
  mergeDelta(bucket, RULED_METRICS, repairDelta(own, -1));
  mergeDelta(bucket, RULED_METRICS, repairDelta(theirs, -1));
  expect([yes, no].map((metric) => Number(bucket.hasMember(POST, metric, key(1))))).toEqual(expected);
});

it('an incarnation does not take over what the previous one of its region knew to be acknowledged', () => {
  const [first, second] = [stampOf('us', 0), stampOf('us', 1)];
  const fullSync = (epoch: number, upTo: number, ackedUpTo: number): Delta => ({
    ...likeDelta('us', first, true),
    source: { region: 'us', epoch, nonce: 20 + epoch },
    ...{ startedAtStamp: upTo, upTo, ackedUpTo },
    fullSyncReceiver: { epoch: 1, nonce: 10 },
  });
  mergeDelta(bucket, METRICS, fullSync(1, first, first));
  expect(bucket.replication.versionVectorEntry('us').ackedUpTo).toBe(first);
  mergeDelta(bucket, METRICS, fullSync(2, second, 0));
  expect(bucket.replication.versionVectorEntry('us')).toMatchObject({ epoch: 2, upTo: second, ackedUpTo: 0 });
});

import { beforeEach, expect, it } from '@jest/globals';
import { MemoryBucket } from '../../../test/contract/memory-bucket.js';
import { key, METRICS, START_MS } from '../../../test/contract/operations.js';
import { merge } from './merge-delta.js';
import { LIKES } from '../metrics.js';
import { newState, ReplicationState } from './replication-state.js';
import { changesAfter } from './build-delta.js';
import type { Register, Shipment } from './delta.js';
import { nextStamp, regionNumber } from './hybrid-clock.js';

const POST = 'post';
const LIMIT = 10;

let bucket: MemoryBucket;

beforeEach(() => {
  bucket = new MemoryBucket({ region: 'eu', epoch: 1, nonce: 10 }, new ReplicationState('eu', newState(0)));
});

function stampOf(region: string, ms: number): number {
  return nextStamp(0, START_MS + ms, regionNumber(region));
}

/** What a region tells of who likes the post. */
function shipmentOf(region: string, stamp: number, on: boolean): Shipment {
  const registers = [{ metric: LIKES, actor: key(1), stamp, on }];
  const posts = [{ post: POST, updatedAtMs: START_MS, entries: [], registers, members: [] }];
  const stamps = { born: 0, after: 0, upTo: 0, confirmed: 0, floor: 0 };
  return {
    kind: 'scan',
    bucket: 0,
    source: { region, epoch: 1, nonce: 20 },
    goesOn: [],
    ...stamps,
    posts,
    shown: null,
  };
}

function toldOn(): Register[] {
  return changesAfter(0, bucket, 0, LIMIT)!.posts.flatMap(({ registers }) => registers);
}

it('a word is passed on if it is told by another region than the one that took it', () => {
  const stamp = stampOf('ap', 50);
  merge(bucket, METRICS, shipmentOf('ap', stamp, true));
  expect(toldOn()).toEqual([]);
  merge(bucket, METRICS, shipmentOf('us', stamp, true));
  expect(toldOn()).toEqual([]);
  merge(bucket, METRICS, shipmentOf('us', stamp + 256, false));
  expect(toldOn()).toEqual([{ metric: LIKES, actor: key(1), stamp: stamp + 256, on: false }]);
});

it('of two words of the same stamp, the like stays, in whichever order they come', () => {
  const stamp = stampOf('ap', 50);
  const likes = (): number => bucket.post(POST)?.metrics.at(LIKES)?.members ?? 0;
  for (const [on, expected] of [
    [false, 0],
    [true, 1],
    [false, 1],
  ] as const) {
    merge(bucket, METRICS, shipmentOf('ap', stamp, on));
    expect(likes()).toBe(expected);
  }
});

import { expect, it } from '@jest/globals';
import { MemoryBucket } from '../../test/contract/memory-bucket.js';
import { key, METRICS, START_MS } from '../../test/contract/operations.js';
import { merge } from './merge.js';
import { LIKES } from './metrics.js';
import { newState, Regional } from './regional.js';
import type { Shipment } from './shipment.js';
import { nextStamp, regionNumber } from './stamp.js';

const AP = { region: 'ap', epoch: 2, nonce: 20 };
const US = { region: 'us', epoch: 1, nonce: 30 };

/** Stamps of ap. */
function stampOfAp(ms: number): number {
  return nextStamp(0, START_MS + ms, regionNumber('ap'));
}

/** What is told of who likes the post: a word of ap's. */
function shipmentOf(source: Shipment['source'], born: number, stamp: number, actor: number): Shipment {
  const registers = [{ metric: LIKES, actor: key(actor), stamp, on: true }];
  const posts = [{ post: 'post', updatedAtMs: START_MS, entries: [], registers, members: [] }];
  const stamps = { born, after: 0, upTo: 0, confirmed: 0, floor: 0 };
  return { kind: 'scan', bucket: 0, source, goesOn: [], ...stamps, posts, shown: null };
}

it('words of a life that is over are not taken of others once its successor is told all that is known', () => {
  const bucket = new MemoryBucket({ region: 'eu', epoch: 1, nonce: 10 }, new Regional('eu', newState(0)));
  const likes = (): number => bucket.post('post')?.metrics[LIKES]!.members ?? 0;
  const born = stampOfAp(100);

  merge(bucket, METRICS, shipmentOf(US, 0, stampOfAp(50), 1));
  expect(likes()).toBe(1);
  expect(bucket.regional!.tells('ap', AP)).toBe(true);
  // When the successor was born is not known yet: the word may be of either life, and ap tells those of its own itself.
  merge(bucket, METRICS, shipmentOf(US, 0, stampOfAp(60), 2));
  merge(bucket, METRICS, shipmentOf(US, 0, stampOfAp(150), 3));
  expect(likes()).toBe(1);

  merge(bucket, METRICS, shipmentOf(AP, born, stampOfAp(160), 4));
  expect(likes()).toBe(2);
  merge(bucket, METRICS, shipmentOf(US, 0, stampOfAp(90), 5));
  expect(likes()).toBe(2);
  merge(bucket, METRICS, shipmentOf(US, 0, stampOfAp(150), 3));
  expect(likes()).toBe(3);
});

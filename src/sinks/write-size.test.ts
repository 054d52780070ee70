import { expect, test } from '@jest/globals';
import type { PostCounts } from '../counters/batch.js';
import type { BucketWrite } from './sink.js';
import { WriteSize } from './write-size.js';

function write(bucket: number, posts: number): BucketWrite {
  const counts = Array.from({ length: posts }, (): PostCounts => ({}) as PostCounts);
  const position = { epoch: 1, nonce: 1, upTo: 1, changedAtMs: 1 };
  const rows = { posts: counts, members: [], milestones: [], postsWithAllMembers: [] };
  return { bucket, epoch: 1, ...rows, position, sums: null, startsFullSync: false, endsFullSync: false };
}

function sizes(size: WriteSize): number[] {
  const writes = Array.from({ length: 20 }, (_, bucket) => write(bucket, 500));
  return size.group(writes).map((group) => group.reduce((sum, { posts }) => sum + posts.length, 0));
}

test('writes have at most 5,000 posts, and half as many after each timeout, down to a page', () => {
  const size = new WriteSize();
  expect(sizes(size)).toEqual([5_000, 5_000]);
  size.shrink();
  expect(sizes(size)).toEqual([2_500, 2_500, 2_500, 2_500]);
  for (let i = 0; i < 9; i++) size.shrink();
  expect(sizes(size)).toEqual(new Array(20).fill(500));
  expect(size.group([write(1, 900), write(2, 0)])).toHaveLength(2);
});

test('writes grow again with each one that succeeds', () => {
  const size = new WriteSize();
  size.shrink();
  for (let i = 0; i < 10; i++) size.grow();
  expect(sizes(size)[0]).toBe(3_000);
  for (let i = 0; i < 90; i++) size.grow();
  expect(sizes(size)).toEqual([5_000, 5_000]);
});

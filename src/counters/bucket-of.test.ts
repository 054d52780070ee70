import { describe, expect, it } from '@jest/globals';
import { bucketOf } from './bucket-of.js';

describe('the bucket of a post', () => {
  it('the bucket of a post is fixed for the lifetime of the data', () => {
    // Other numbers would make every stored count unreachable.
    expect(['42', 'post-1', 'A-z_0.9:', '1150000000000000001'].map((id) => bucketOf(id, 64))).toEqual([61, 61, 7, 22]);
  });

  it.each([1, 3, 64, 4096])('posts are spread evenly over %d buckets', (buckets) => {
    const posts = 64 * buckets;
    const sizes = new Array<number>(buckets).fill(0);
    for (let i = 0; i < posts; i++) sizes[bucketOf(String(10_000_000 + i), buckets)]! += 1;
    expect(sizes).toHaveLength(buckets);
    // 64 posts a bucket deviate by 8 (Poisson); 6 deviations occur once in a billion.
    expect(Math.max(...sizes.map((size) => Math.abs(size - 64)))).toBeLessThanOrEqual(48);
  });
});

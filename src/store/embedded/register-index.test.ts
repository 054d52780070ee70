import { describe, expect, it } from '@jest/globals';
import { RegisterIndex } from './register-index.js';

describe('posts whose records hold registers', () => {
  it('posts with registers are found by the stamps that they were added with, in each bucket separately', () => {
    const posts = new RegisterIndex(2);
    posts.add(0, 'a', 1);
    posts.add(0, 'b', 2);
    posts.add(0, 'a', 3);
    posts.add(1, 'c', 1);
    expect(posts.takeUpTo(0, 1, 10)).toEqual(['a']);
    expect(posts.takeUpTo(0, 2, 0)).toEqual([]);
    expect(posts.takeUpTo(0, 2, 1)).toEqual(['b']);
    expect([[...posts.postsIn(0)], [...posts.postsIn(1)]]).toEqual([[], ['c']]);
  });

  it('the index holds 2,000 posts a bucket: one more evicts the first', () => {
    const posts = new RegisterIndex(1);
    for (let i = 1; i <= 2_000; i++) expect(posts.add(0, `post-${i}`, i)).toBeUndefined();
    expect(posts.add(0, 'one more', 2_001)).toBe('post-1');
    expect([...posts.postsIn(0)]).toHaveLength(2_000);
  });
});

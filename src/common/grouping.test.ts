import { describe, expect, it } from '@jest/globals';
import { groupBy, pages } from './grouping.js';

describe('groupBy', () => {
  it('items of one key stay together, in their order', () => {
    const groups = groupBy([5, 2, 3, 4, 1], (n) => (n % 2 === 0 ? 'even' : 'odd'));
    expect([...groups]).toEqual([
      ['odd', [5, 3, 1]],
      ['even', [2, 4]],
    ]);
  });

  it('no items make no group', () => {
    expect(groupBy([], () => 0).size).toBe(0);
  });
});

describe('pages', () => {
  it('all pages but the last are full', () => {
    expect(pages([1, 2, 3, 4, 5], 2)).toEqual([[1, 2], [3, 4], [5]]);
    expect(pages([1, 2, 3, 4], 2)).toEqual([
      [1, 2],
      [3, 4],
    ]);
  });

  it('no items make no page', () => {
    expect(pages([], 2)).toEqual([]);
  });
});

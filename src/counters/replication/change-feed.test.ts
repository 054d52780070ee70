import { describe, expect, it } from '@jest/globals';
import { ChangeFeed, FEED_MAX } from './change-feed.js';

const ANN = { hi: 1, lo: 2 };

describe('a feed', () => {
  it('has each thing once, at its last change', () => {
    const feed = new ChangeFeed(0);
    feed.counted('a', 1);
    feed.toggled('a', 0, ANN, 2);
    feed.counted('a', 3);
    expect(feed.after(0, 10).marks.map(({ metric, stamp }) => [metric, stamp])).toEqual([
      [0, 2],
      [-1, 3],
    ]);
    expect(feed.after(2, 10)).toMatchObject({ marks: [{ stamp: 3 }], upTo: null });
  });

  it('tells things apart whose hashes are the same', () => {
    const feed = new ChangeFeed(0);
    const alike = ['p17831', 'p29033', 'p17831'];
    for (const [i, post] of alike.entries()) feed.counted(post, i + 1);
    expect(feed.after(0, 10).marks.map(({ post, stamp }) => [post, stamp])).toEqual([
      ['p29033', 2],
      ['p17831', 3],
    ]);
    feed.trim(2);
    feed.counted('p29033', 4);
    feed.counted('p17831', 5);
    feed.trim(4);
    expect([feed.size, feed.after(0, 10).marks[0]!.post]).toEqual([1, 'p17831']);
  });

  it('gives all of a stamp or none', () => {
    const feed = new ChangeFeed(0);
    for (const post of ['a', 'b', 'c']) feed.counted(post, 1);
    feed.counted('d', 2);
    expect(feed.after(0, 1)).toMatchObject({ marks: [{ post: 'a' }, { post: 'b' }, { post: 'c' }], upTo: 1 });
  });

  it('forgets what all peers have, and says so', () => {
    const feed = new ChangeFeed(0);
    feed.counted('a', 1);
    feed.counted('b', 2);
    feed.trim(1);
    expect([feed.size, feed.droppedUpTo]).toEqual([1, 1]);
  });

  it(`keeps ${FEED_MAX} marks at most, the latest, and says up to where others are dropped`, () => {
    const feed = new ChangeFeed(0);
    for (let stamp = 1; stamp <= FEED_MAX + 5; stamp++) feed.counted(`post-${stamp}`, stamp);
    expect([feed.size, feed.droppedUpTo]).toEqual([FEED_MAX, 5]);
    expect(feed.after(5, 1).marks[0]!.stamp).toBe(6);
  });
});

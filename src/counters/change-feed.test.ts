import { describe, expect, it } from '@jest/globals';
import { ChangeFeed, FEED_MAX } from './change-feed.js';

const ANN = { hi: 1, lo: 2 };

describe('a change feed', () => {
  it('a feed has each thing once, at its last change', () => {
    const feed = new ChangeFeed(0);
    feed.recordCount('a', 1);
    feed.recordToggle('a', 0, ANN, 2);
    feed.recordCount('a', 3);
    expect(feed.entriesAfter(0, 10).entries.map(({ metric, stamp }) => [metric, stamp])).toEqual([
      [0, 2],
      [-1, 3],
    ]);
    expect(feed.entriesAfter(2, 10)).toMatchObject({ entries: [{ stamp: 3 }], upTo: null });
  });

  it('a feed distinguishes things whose hashes are equal', () => {
    const feed = new ChangeFeed(0);
    const alike = ['p17831', 'p29033', 'p17831'];
    for (const [i, post] of alike.entries()) feed.recordCount(post, i + 1);
    expect(feed.entriesAfter(0, 10).entries.map(({ post, stamp }) => [post, stamp])).toEqual([
      ['p29033', 2],
      ['p17831', 3],
    ]);
    feed.trim(2);
    feed.recordCount('p29033', 4);
    feed.recordCount('p17831', 5);
    feed.trim(4);
    expect([feed.size, feed.entriesAfter(0, 10).entries[0]!.post]).toEqual([1, 'p17831']);
  });

  it('a feed returns either all entries of a stamp or none', () => {
    const feed = new ChangeFeed(0);
    for (const post of ['a', 'b', 'c']) feed.recordCount(post, 1);
    feed.recordCount('d', 2);
    expect(feed.entriesAfter(0, 1)).toMatchObject({ entries: [{ post: 'a' }, { post: 'b' }, { post: 'c' }], upTo: 1 });
  });

  it('a feed drops entries that all peers have and reports up to where', () => {
    const feed = new ChangeFeed(0);
    feed.recordCount('a', 1);
    feed.recordCount('b', 2);
    feed.trim(1);
    expect([feed.size, feed.droppedUpTo]).toEqual([1, 1]);
  });

  it(`a feed keeps the latest ${FEED_MAX} entries and reports up to where others are dropped`, () => {
    const feed = new ChangeFeed(0);
    for (let stamp = 1; stamp <= FEED_MAX + 5; stamp++) feed.recordCount(`post-${stamp}`, stamp);
    expect([feed.size, feed.droppedUpTo]).toEqual([FEED_MAX, 5]);
    expect(feed.entriesAfter(5, 1).entries[0]!.stamp).toBe(6);
  });
});

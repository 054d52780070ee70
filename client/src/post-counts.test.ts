import { describe, expect, test } from '@jest/globals';
import type { Update } from '../../src/protocol/messages.js';
import { PostCounts } from './post-counts.js';

function update(v: number, likes: number, views = 0): Update {
  return { post: 'p', e: 'e', v, likes, views, live: 1 };
}

describe('the counts of a post', () => {
  test('a frame that overtakes the acknowledgement is not counted on top of the operation', () => {
    const counts = new PostCounts();
    counts.snapshot({ ...update(1, 10), mine: [] });
    const operation = { seq: 1, post: 'p', metric: 'likes', value: true };
    const shown: (number | undefined)[] = [];
    const look = () => shown.push(counts.news('remote')?.counts.likes);
    look();
    counts.begin(operation);
    look();
    counts.sent(1);
    counts.frame(update(2, 11));
    look();
    counts.acknowledged(1, { ok: true, on: true, counts: update(2, 11) });
    look();
    expect(shown).toEqual([10, 11, undefined, undefined]);
  });

  test('one refused operation takes back itself alone', () => {
    const counts = new PostCounts();
    counts.snapshot({ ...update(1, 0, 10), mine: [] });
    for (const seq of [1, 2, 3]) counts.begin({ seq, post: 'p', metric: 'views', value: seq });
    expect(counts.news('local')?.counts.views).toBe(16);
    counts.refused(2);
    expect(counts.news('local')).toMatchObject({ counts: { views: 14 }, delta: { views: -2 } });
  });

  test('a like of what is liked already, and an unlike of what is not, change nothing', () => {
    const counts = new PostCounts();
    counts.snapshot({ ...update(1, 10), mine: ['likes'] });
    counts.news('snapshot');
    counts.begin({ seq: 1, post: 'p', metric: 'likes', value: true });
    expect(counts.news('local')).toBeUndefined();
    counts.begin({ seq: 2, post: 'p', metric: 'saves', value: false });
    expect(counts.news('local')).toBeUndefined();
  });

  test('another epoch replaces what is known, also with less', () => {
    const counts = new PostCounts();
    counts.frame(update(9, 10));
    counts.frame({ ...update(1, 4), e: 'f' });
    counts.frame({ ...update(1, 5), e: 'f' });
    expect(counts.news('remote')?.counts.likes).toBe(4);
  });

  test('viewers are taken as they come, whatever the version', () => {
    const counts = new PostCounts();
    counts.frame(update(9, 10));
    counts.frame({ ...update(8, 7), live: 5 });
    expect(counts.news('remote')?.counts).toEqual({ likes: 10, views: 0, live: 5 });
  });

  test('metrics named like what every object has are ordinary', () => {
    const counts = new PostCounts();
    counts.frame(update(1, 0));
    counts.begin({ seq: 1, post: 'p', metric: 'constructor', value: 2 });
    expect(Object.entries(counts.news('local')!.counts)).toContainEqual(['constructor', 2]);
  });

  test('acknowledged without counts it shows until it is forgotten, then what frames have brought', () => {
    const counts = new PostCounts();
    counts.frame(update(1, 10));
    counts.begin({ seq: 1, post: 'p', metric: 'likes', value: true });
    counts.sent(1);
    counts.acknowledged(1, { ok: true });
    expect(counts.news('local')?.counts.likes).toBe(11);
    counts.frame(update(2, 11));
    expect(counts.news('remote')).toBeUndefined();
    counts.forget(1);
    expect(counts.news('local')).toBeUndefined();
    expect(counts.told).toMatchObject({ counts: { likes: 11 }, mine: ['likes'] });
  });
});

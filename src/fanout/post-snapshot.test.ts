import { expect, test } from '@jest/globals';
import { Metrics } from '../counters/metrics.js';
import { PostSnapshot, toUpdate } from './post-snapshot.js';

const METRICS = Metrics.parse('likes:toggle,views:tally,shares:tally');

function snapshot(v: number, totals: number[], live = 1): PostSnapshot {
  return new PostSnapshot({ post: '42', e: 'eu.3.k9', v, updatedAtMs: 1, totals, live: 0 }, live, METRICS);
}

test('an update has the same content as its encoding', () => {
  const { counts } = snapshot(7, [1, 2, 3]);
  const update = toUpdate(counts, 4, METRICS);
  expect(update).toEqual({ post: '42', e: 'eu.3.k9', v: 7, likes: 1, views: 2, shares: 3, live: 4 });
  expect(JSON.parse(snapshot(7, [1, 2, 3], 4).encodeFull())).toEqual(update);
});

test('d is what changed since the baseline, by metric', () => {
  const [old, now] = [snapshot(7, [5, 2, 3]), snapshot(9, [4, 2, 13])];
  expect(JSON.parse(now.encodeSince(old).text)).toEqual({
    ...toUpdate(now.counts, 1, METRICS),
    d: { likes: -1, shares: 10 },
  });
});

test('each baseline has its own d, and equal baselines share one text', () => {
  const [first, second, now] = [snapshot(1, [1, 0, 0]), snapshot(2, [2, 0, 0]), snapshot(3, [4, 0, 0])];
  expect([first, second, first].map((base) => (JSON.parse(now.encodeSince(base).text) as { d: unknown }).d)).toEqual([
    { likes: 3 },
    { likes: 2 },
    { likes: 3 },
  ]);
});

test('a metric that the counts do not have yet is 0', () => {
  expect(toUpdate(snapshot(1, [1]).counts, 1, METRICS)).toMatchObject({ likes: 1, views: 0, shares: 0 });
  expect(JSON.parse(snapshot(2, [1, 2, 3]).encodeSince(snapshot(1, [1])).text)).toMatchObject({
    d: { views: 2, shares: 3 },
  });
});

test('counts up to 2^53 - 1 are exact', () => {
  const max = Number.MAX_SAFE_INTEGER;
  const text = snapshot(max, [max, max, 0]).encodeSince(snapshot(1, [0, max - 1, 0])).text;
  expect(JSON.parse(text)).toMatchObject({ v: max, likes: max, views: max, d: { likes: max, views: 1 } });
});

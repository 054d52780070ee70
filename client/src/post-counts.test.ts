import { describe, expect, test } from '@jest/globals';
import type { Update } from '../../src/protocol/messages.js';
import { MetricRules } from './metric-rules.js';
import { PostCounts } from './post-counts.js';

function update(v: number, likes: number, views = 0): Update {
  return { post: 'p', e: 'e', v, likes, views, live: 1 };
}

describe('the counts of a post', () => {
  test('an operation is not added to a frame that overtakes its acknowledgement', () => {
    const counts = new PostCounts(new MetricRules());
    counts.applySnapshot({ ...update(1, 10), mine: [] });
    const operation = { seq: 0, id: 1, post: 'p', metric: 'likes', value: true };
    const shown: (number | undefined)[] = [];
    const look = () => shown.push(counts.takeChange('remote')?.counts.likes);
    look();
    counts.addPending(operation);
    look();
    counts.sent(1);
    counts.applyFrame(update(2, 11));
    look();
    counts.acknowledge({ id: 1, metric: 'likes' }, { ok: true, on: true, counts: update(2, 11) });
    look();
    expect(shown).toEqual([10, 11, undefined, undefined]);
  });

  test('a toggle that another connection of this actor counted first moves no number until its counts arrive', () => {
    const counts = new PostCounts(new MetricRules());
    counts.applySnapshot({ ...update(1, 10), mine: [] });
    counts.addPending({ seq: 0, id: 1, post: 'p', metric: 'likes', value: true });
    counts.sent(1);
    expect(counts.takeChange('local')?.counts.likes).toBe(11);
    counts.applyToggle('likes', true);
    expect(counts.takeChange('remote')).toBeUndefined();
    counts.applyFrame(update(2, 11));
    counts.acknowledge({ id: 1, metric: 'likes' }, { ok: true, on: true, counts: update(2, 11) });
    expect(counts.takeChange('remote')).toBeUndefined();
  });

  test('of two changes of a toggle that arrive in the other order the newer one stays', () => {
    const counts = new PostCounts(new MetricRules());
    const mine = () => counts.takeChange('remote')?.mine;
    counts.applySnapshot({ ...update(1, 10), mine: [] });
    expect(mine()).toEqual([]);
    counts.applyToggle('likes', true, { e: 'e', v: 4 });
    counts.applyToggle('likes', false, { e: 'e', v: 3 });
    expect(mine()).toEqual(['likes']);
    // Another toggle has a version of its own, and an older snapshot is newer for it.
    counts.applyToggle('saves', true, { e: 'e', v: 2 });
    expect(mine()).toEqual(['likes', 'saves']);
    counts.applySnapshot({ ...update(3, 10), mine: [] });
    expect(mine()).toEqual(['likes']);
    counts.acknowledge({ id: 1, metric: 'likes' }, { ok: true, on: false, counts: update(5, 10) });
    counts.applyToggle('likes', true, { e: 'e', v: 4 });
    expect(mine()).toEqual([]);
    // Without a version the last one to arrive is taken, as from older gateways.
    counts.applyToggle('likes', true);
    expect(mine()).toEqual(['likes']);
  });

  test('a rejected operation takes back only itself', () => {
    const counts = new PostCounts(new MetricRules());
    counts.applySnapshot({ ...update(1, 0, 10), mine: [] });
    for (const id of [1, 2, 3]) counts.addPending({ seq: 0, id, post: 'p', metric: 'views', value: id });
    expect(counts.takeChange('local')?.counts.views).toBe(16);
    counts.reject(2);
    expect(counts.takeChange('local')).toMatchObject({ counts: { views: 14 }, delta: { views: -2 } });
  });

  test('a like of a liked post and an unlike of another one change nothing', () => {
    const counts = new PostCounts(new MetricRules());
    counts.applySnapshot({ ...update(1, 10), mine: ['likes'] });
    counts.takeChange('snapshot');
    counts.addPending({ seq: 0, id: 1, post: 'p', metric: 'likes', value: true });
    expect(counts.takeChange('local')).toBeUndefined();
    counts.addPending({ seq: 0, id: 2, post: 'p', metric: 'saves', value: false });
    expect(counts.takeChange('local')).toBeUndefined();
  });

  test('a new epoch replaces the counts even with lower ones', () => {
    const counts = new PostCounts(new MetricRules());
    counts.applyFrame(update(9, 10));
    counts.applyFrame({ ...update(1, 4), e: 'f' });
    counts.applyFrame({ ...update(1, 5), e: 'f' });
    expect(counts.takeChange('remote')?.counts.likes).toBe(4);
  });

  test('the number of viewers is taken from every frame, whatever its version', () => {
    const counts = new PostCounts(new MetricRules());
    counts.applyFrame(update(9, 10));
    counts.applyFrame({ ...update(8, 7), live: 5 });
    expect(counts.takeChange('remote')?.counts).toEqual({ likes: 10, views: 0, live: 5 });
  });

  test('a metric named like a property of every object is counted', () => {
    const counts = new PostCounts(new MetricRules());
    counts.applyFrame({ ...update(1, 0), constructor: 0 });
    counts.addPending({ seq: 0, id: 1, post: 'p', metric: 'constructor', value: 2 });
    expect(Object.entries(counts.takeChange('local')!.counts)).toContainEqual(['constructor', 2]);
  });

  test('an operation acknowledged without counts shows until it is dropped, then the counts of the frames', () => {
    const counts = new PostCounts(new MetricRules());
    counts.applyFrame(update(1, 10));
    counts.addPending({ seq: 0, id: 1, post: 'p', metric: 'likes', value: true });
    counts.sent(1);
    counts.acknowledge({ id: 1, metric: 'likes' }, { ok: true });
    expect(counts.takeChange('local')?.counts.likes).toBe(11);
    counts.applyFrame(update(2, 11));
    expect(counts.takeChange('remote')).toBeUndefined();
    counts.dropAcknowledged(1);
    expect(counts.takeChange('local')).toBeUndefined();
    expect(counts.lastEmitted).toMatchObject({ counts: { likes: 11 }, mine: ['likes'] });
  });

  test('an operation acknowledged with a version is dropped by the counts of that version', () => {
    const counts = new PostCounts(new MetricRules());
    counts.applySnapshot({ ...update(1, 1), mine: ['likes'] });
    counts.takeChange('snapshot');
    counts.addPending({ seq: 0, id: 1, post: 'p', metric: 'likes', value: false });
    counts.sent(1);
    counts.acknowledge({ id: 1, metric: 'likes' }, { ok: true, on: false, at: ['e', 2] });
    counts.applyToggle('likes', false);
    expect(counts.takeChange('local')).toMatchObject({ counts: { likes: 0 }, mine: [] });
    counts.applyFrame(update(2, 0));
    expect([counts.isIdle, counts.takeChange('remote')]).toEqual([true, undefined]);
    // Another tab likes it again. The counts that include that come before the toggle.
    counts.applyFrame(update(3, 1));
    expect(counts.takeChange('remote')?.counts.likes).toBe(1);
    counts.applyToggle('likes', true);
    expect(counts.takeChange('remote')).toMatchObject({ counts: { likes: 1 }, mine: ['likes'] });
  });

  test('counts of the version that came before the acknowledgement include the operation', () => {
    const counts = new PostCounts(new MetricRules());
    counts.applySnapshot({ ...update(1, 0), mine: [] });
    counts.addPending({ seq: 0, id: 1, post: 'p', metric: 'likes', value: true });
    counts.sent(1);
    counts.applyFrame(update(2, 1));
    counts.acknowledge({ id: 1, metric: 'likes' }, { ok: true, on: true, at: ['e', 2] });
    expect(counts.isIdle).toBe(true);
    expect(counts.takeChange('local')).toMatchObject({ counts: { likes: 1 }, mine: ['likes'] });
    counts.applyToggle('likes', true);
    expect(counts.takeChange('local')).toBeUndefined();
  });

  test.each([
    ['an earlier version', 2, 'e'],
    ['another epoch', 4, 'e2'],
  ])('counts of %s do not drop it', (_, v, e) => {
    const counts = new PostCounts(new MetricRules());
    counts.applySnapshot({ ...update(1, 0), mine: [] });
    counts.addPending({ seq: 0, id: 1, post: 'p', metric: 'likes', value: true });
    counts.sent(1);
    counts.acknowledge({ id: 1, metric: 'likes' }, { ok: true, on: true, at: ['e', 3] });
    counts.applyFrame({ ...update(v, 0), e });
    expect(counts.isIdle).toBe(false);
    expect(counts.takeChange('local')?.counts.likes).toBe(1);
  });

  test('an acknowledgement with counts drops earlier operations that were acknowledged without', () => {
    const counts = new PostCounts(new MetricRules());
    counts.applySnapshot(update(1, 0));
    counts.addPending({ seq: 0, id: 1, post: 'p', metric: 'likes', value: true });
    counts.sent(1);
    counts.acknowledge({ id: 1, metric: 'likes' }, { ok: true });
    // A socket replaces the stream.
    counts.applySnapshot({ ...update(2, 1), mine: ['likes'] });
    counts.addPending({ seq: 0, id: 2, post: 'p', metric: 'likes', value: false });
    counts.sent(2);
    counts.acknowledge({ id: 2, metric: 'likes' }, { ok: true, on: false, counts: update(3, 0) });
    expect(counts.takeChange('local')).toMatchObject({ counts: { likes: 0 }, mine: [] });
    // A stream replaces the socket.
    counts.applySnapshot(update(3, 0));
    counts.dropAcknowledged(1);
    expect(counts.takeChange('local')).toBeUndefined();
  });
  test('an acknowledgement includes earlier operations without an answer, and corrects their toggles later', () => {
    const counts = new PostCounts(new MetricRules());
    counts.applySnapshot({ ...update(1, 0), mine: [] });
    counts.addPending({ seq: 0, id: 1, post: 'p', metric: 'likes', value: true });
    counts.addPending({ seq: 0, id: 2, post: 'p', metric: 'views', value: 1 });
    for (const id of [1, 2]) counts.sent(id);
    counts.acknowledge({ id: 2, metric: 'views' }, { ok: true, counts: update(3, 1, 1) });
    expect(counts.takeChange('local')).toMatchObject({ counts: { likes: 1, views: 1 }, mine: ['likes'] });
    expect(counts.isIdle).toBe(true);
    // Another tab has turned it off meanwhile.
    counts.acknowledge({ id: 1, metric: 'likes' }, { ok: true, on: false, counts: update(4, 0, 1) });
    expect(counts.takeChange('local')).toMatchObject({ counts: { likes: 0 }, mine: [] });
  });
});

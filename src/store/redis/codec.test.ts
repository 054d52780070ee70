import { describe, expect, it } from '@jest/globals';
import type { PostCounts } from '../../counters/batch.js';
import { Metrics } from '../../counters/metrics.js';
import type { Operation } from '../../counters/operation.js';
import { COUNT_MAX } from '../../counters/pn-counter.js';
import { Codec, decimalOf } from './codec.js';

const METRICS = Metrics.parse('likes:toggle,views:tally,shares:tally');
const codec = new Codec(METRICS, 'eu');
const AT_MS = Date.UTC(2026, 0, 1);

const VIEW: Operation = { post: 'a', metric: 1, kind: 'add', value: 7, actor: null, session: null, seq: 0 };
const LIKE: Operation = {
  post: 'b',
  metric: 0,
  kind: 'set',
  value: 1,
  actor: { hi: 0xffffffff, lo: 0xfffffffe },
  session: { hi: 1, lo: 2 },
  seq: 3,
};
const PLAIN: Operation = { post: 'a', metric: 0, kind: 'adjust', value: -1, actor: null, session: null, seq: 0 };

describe('keys in decimal', () => {
  it.each([
    [0, 0, '0'],
    [0, 0xffffffff, '4294967295'],
    [1, 2, '4294967298'],
    [0x7fffffff, 0xffffffff, '9223372036854775807'],
    [0x80000000, 0, '-9223372036854775808'],
    [0xffffffff, 0xffffffff, '-1'],
  ])('%i and %i are the signed integer %s', (hi, lo, decimal) => {
    const key = { hi, lo };
    expect([decimalOf(key), decimalOf(key)]).toEqual([decimal, decimal]);
  });

  it('nobody is the empty string', () => {
    expect(decimalOf(null)).toBe('');
  });
});

describe('a batch', () => {
  it('names each post once and gives seven places to each operation', () => {
    const batch = { bucket: 0, incarnation: 'life', n: 1, atMs: AT_MS, operations: [VIEW, LIKE, PLAIN] };
    const { posts, args } = codec.operationsOf(batch);
    expect(posts).toEqual(['a', 'b']);
    expect(args.map((arg) => JSON.parse(arg) as unknown)).toEqual([
      ['a', 'b'],
      [...[1, 1, 0, 7, '', '', 0], ...[2, 0, 1, 1, '-2', '4294967298', 3], ...[1, 0, 2, -1, '', '', 0]],
    ]);
  });

  it('without operations has two empty lists', () => {
    const batch = { bucket: 0, incarnation: 'life', n: 1, atMs: AT_MS, operations: [] };
    expect(codec.operationsOf(batch)).toEqual({ posts: [], args: ['[]', '[]'] });
  });

  it('has a letter for each metric', () => {
    expect(codec.kinds).toBe('scc');
  });
});

describe('answers', () => {
  const a: PostCounts = { post: 'a', e: 'eu.3.k', v: 4, updatedAtMs: AT_MS, totals: [1, 2, COUNT_MAX], live: 5 };
  const unknown: PostCounts = { post: 'b', e: 'eu.3.k', v: 0, updatedAtMs: null, totals: [0, 0, 0], live: 6 };

  it('an applied batch has outcomes, the counts of all its posts and those that changed', () => {
    const reply = ['applied', 3, 20, 40, '156', ...[4, AT_MS, 5, 1, 1, 2, String(COUNT_MAX)], ...[0, 0, 6, 0, 0, 0, 0]];
    const { result, dueInMs } = codec.committed(['a', 'b'], reply);
    expect(dueInMs).toBe(40);
    expect(result).toEqual({
      kind: 'applied',
      outcomes: Uint8Array.of(1, 5, 6),
      counts: new Map([
        ['a', a],
        ['b', unknown],
      ]),
      changed: [a],
    });
  });

  it('nothing is due when it says so', () => {
    expect(codec.committed([], ['applied', 3, 20, -1, '']).dueInMs).toBeNull();
  });

  it.each(['gap', 'stale'])('%s tells the last number', (kind) => {
    expect(codec.committed(['a'], [kind, 9])).toEqual({ result: { kind, last: 9 }, dueInMs: null });
  });

  it('views have the toggles that are on, and whether the life of the server is known', () => {
    const reply = [1, 3, 20, ...[4, AT_MS, 5, 1, 1, 2, String(COUNT_MAX)], ...[0, 0, 6, 0, 0, 0, 0]];
    const views = [
      { counts: a, on: 1 },
      { counts: unknown, on: 0 },
    ];
    expect(codec.views(['a', 'b'], reply)).toEqual({ current: true, views });
    expect(codec.views([], [0, 0, 0]).current).toBe(false);
  });

  it('an announcement has what a commit tells', () => {
    expect(codec.announced('a', `[3,20,4,${AT_MS},5,1,2,${COUNT_MAX}]`)).toEqual(a);
  });

  it('metrics that the announcing gateway does not know of yet are zeros, and those unknown here are left out', () => {
    expect(codec.announced('a', `[3,20,4,${AT_MS},5,1,2]`).totals).toEqual([1, 2, 0]);
    expect(codec.announced('a', `[3,20,4,${AT_MS},5,1,2,3,4]`).totals).toEqual([1, 2, 3]);
  });

  it('a message that is none of ours is refused', () => {
    expect(() => codec.announced('a', 'hello')).toThrow(SyntaxError);
  });
});

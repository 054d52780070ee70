import { describe, expect, it } from '@jest/globals';
import type { PostCounts } from '../../../counters/batch.js';
import { Metrics } from '../../../counters/metrics.js';
import { COUNT_MAX } from '../../../counters/pn-counter.js';
import { ReplyDecoder } from './reply-decoder.js';
import { toDecimalKey } from './key64-decimal.js';

const METRICS = Metrics.parse('likes:toggle,views:tally,shares:tally');
const codec = new ReplyDecoder(METRICS, 'eu');
const AT_MS = Date.UTC(2026, 0, 1);

describe('keys in decimal', () => {
  it.each([
    [0, 0, '0'],
    [0, 0xffffffff, '4294967295'],
    [1, 2, '4294967298'],
    [0x7fffffff, 0xffffffff, '9223372036854775807'],
    [0x80000000, 0, '-9223372036854775808'],
    [0xffffffff, 0xffffffff, '-1'],
  ])('the key of %i and %i is the signed integer %s', (hi, lo, decimal) => {
    expect(toDecimalKey({ hi, lo })).toBe(decimal);
  });

  it('the key of no actor is the empty string', () => {
    expect(toDecimalKey(null)).toBe('');
  });
});

it('each metric has a letter', () => {
  expect(codec.metricKinds).toBe('scc');
});

/** Numbers as msgpack's unsigned integers of 8 bytes, texts as its strings. */
function packed(values: readonly (number | string)[]): Buffer {
  return Buffer.concat(
    values.map((value) => {
      if (typeof value === 'string') return Buffer.from([0xa0 + value.length, ...Buffer.from(value)]);
      const bytes = Buffer.alloc(9, 0xcf);
      bytes.writeBigUInt64BE(BigInt(value), 1);
      return bytes;
    }),
  );
}

describe('ReplyDecoder', () => {
  const a: PostCounts = { post: 'a', e: 'eu.3.k', v: 4, updatedAtMs: AT_MS, totals: [1, 2, COUNT_MAX], live: 5 };
  const unknown: PostCounts = { post: 'b', e: 'eu.3.k', v: 0, updatedAtMs: null, totals: [0, 0, 0], live: 6 };

  it('the decoder returns outcomes, the counts of all posts and the changed counts of an applied batch', () => {
    const reply = [0, 3, 20, 41, '\x01\x05\x06', ...[4, AT_MS, 5, 1, 1, 2, COUNT_MAX], ...[0, 0, 6, 0, 0, 0, 0]];
    const { result, publishInMs } = codec.decodeCommit({ posts: ['a', 'b'], packed: packed(reply) });
    expect(publishInMs).toBe(40);
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

  it('the decoder reads 0 as no post being due', () => {
    expect(codec.decodeCommit({ posts: [], packed: packed([0, 3, 20, 0, '']) }).publishInMs).toBeNull();
  });

  it.each([
    ['gap', 1],
    ['stale', 2],
  ])('the reply %s has the last batch number', (kind, number) => {
    const answer = { posts: ['a'], packed: packed([number, 9]) };
    expect(codec.decodeCommit(answer)).toEqual({ result: { kind, last: 9 }, publishInMs: null });
  });

  it('the decoder returns toggles that are on, and whether the bucket has the run id of the server', () => {
    const reply = [1, 3, 20, ...[4, AT_MS, 5, 1, 1, 2, String(COUNT_MAX)], ...[0, 0, 6, 0, 0, 0, 0]];
    const views = [
      { counts: a, on: 1 },
      { counts: unknown, on: 0 },
    ];
    expect(codec.decodeViews(['a', 'b'], reply)).toEqual({ isCurrent: true, views });
    expect(codec.decodeViews([], [0, 0, 0]).isCurrent).toBe(false);
  });

  it('published counts are decoded like those of a commit', () => {
    expect(codec.decodePublished('a', `[3,20,4,${AT_MS},5,1,2,${COUNT_MAX}]`)).toEqual(a);
  });

  it('totals that were not published are decoded as zeros, and those of unknown metrics are left out', () => {
    expect(codec.decodePublished('a', `[3,20,4,${AT_MS},5,1,2]`).totals).toEqual([1, 2, 0]);
    expect(codec.decodePublished('a', `[3,20,4,${AT_MS},5,1,2,3,4]`).totals).toEqual([1, 2, 3]);
  });

  it.each([
    ['no JSON', 'hello', 'not valid JSON'],
    ['a text, though it is iterable', '"abcdefgh"', 'published counts are a list'],
    ['an object', '{"length":8}', 'published counts are a list'],
    ['too short', '[3,20,4]', 'counts are whole numbers'],
    ['of an epoch that is a text', `["3",20,4,${AT_MS},5,1,2,3]`, 'an epoch has two whole numbers'],
    ['of a nonce that is a text', `[3,"\\"}",4,${AT_MS},5,1,2,3]`, 'an epoch has two whole numbers'],
    ['of a count that is negative', `[3,20,4,${AT_MS},5,-1,2,3]`, 'counts are whole numbers'],
    ['of a count that is a fraction', `[3,20,4,${AT_MS},5,1,2,0.5]`, 'counts are whole numbers'],
    ['of a count over 2^53 - 1', `[3,20,4,${AT_MS},5,1,2,9007199254740992]`, 'counts are whole numbers'],
    ['of viewers that are a list', `[3,20,4,${AT_MS},[5],1,2,3]`, 'counts are whole numbers'],
    ['of a time that no date has', '[3,20,4,9e15,5,1,2,3]', 'counts are whole numbers'],
  ])('a message that is %s is rejected', (_what, message, error) => {
    expect(() => codec.decodePublished('a', message)).toThrow(error);
  });
});

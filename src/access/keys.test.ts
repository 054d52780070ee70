import { expect, test } from '@jest/globals';
import { key64Of } from './keys.js';

test.each([
  ['0', 0, 0],
  ['1', 0, 1],
  ['-1', 0xffffffff, 0xffffffff],
  ['4294967295', 0, 0xffffffff],
  ['4294967296', 1, 0],
  ['9223372036854775807', 0x7fffffff, 0xffffffff],
  ['-9223372036854775808', 0x80000000, 0],
])('the int64 %s is its own key', (text, hi, lo) => {
  expect(key64Of(text)).toEqual({ hi, lo });
});

test('any other text has the first 64 bits of its SHA-256', () => {
  // FIPS 180-4, example "abc": ba7816bf 8f01cfea …
  expect(key64Of('abc')).toEqual({ hi: 0xba7816bf, lo: 0x8f01cfea });
});

test.each(['', '00', '01', '-0', '+1', ' 1', '1 ', '1.0', '1e3', '0x1', '9223372036854775808', '-9223372036854775809'])(
  'what only looks like an int64 is text: "%s"',
  (text) => {
    const { hi, lo } = key64Of(text);
    // A small number or its negative would show in the upper half.
    expect([0, 0xffffffff, 0x7fffffff, 0x80000000]).not.toContain(hi);
    expect(Number.isInteger(lo) && lo >= 0 && lo < 2 ** 32).toBe(true);
  },
);

test('texts that differ in case, in spaces or in their Unicode form have different keys', () => {
  const texts = ['ada', 'Ada', 'ada ', '\u00e9', 'e\u0301', '1', '-1', '01'];
  expect(new Set(texts.map((text) => JSON.stringify(key64Of(text)))).size).toBe(texts.length);
});

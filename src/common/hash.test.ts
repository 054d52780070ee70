import { expect, test } from '@jest/globals';
import { fmix32, fnv1a } from './hash.js';

/** The authors' test vectors: http://www.isthe.com/chongo/src/fnv/test_fnv.c */
test.each([
  ['', 0x811c9dc5],
  ['a', 0xe40c292c],
  ['foobar', 0xbf9cf968],
])('FNV-1a of %j equals the test vector of its authors', (text, hash) => {
  expect(fnv1a(text) >>> 0).toBe(hash);
});

test('FNV-1a with another seed gives another hash', () => {
  expect(fnv1a('foobar', 1)).not.toBe(fnv1a('foobar'));
});

test('fmix32 keeps zero and maps different numbers to different ones', () => {
  expect([fmix32(0), fmix32(1)]).toEqual([0, 0x514e28b7]);
  expect(new Set(Array.from({ length: 10_000 }, (_, i) => fmix32(i))).size).toBe(10_000);
});

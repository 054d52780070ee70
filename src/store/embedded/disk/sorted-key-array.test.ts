import { describe, expect, it } from '@jest/globals';
import type { Key64 } from '../../../counters/ids.js';
import { KEY64_BYTES, NUMBERED_BYTES, SortedKeyArray } from './sorted-key-array.js';

const KEYS: Key64[] = [
  { hi: 0, lo: 0 },
  { hi: 0, lo: 0xffffffff },
  { hi: 1, lo: 0 },
  { hi: 0x7fffffff, lo: 5 },
  { hi: 0x80000000, lo: 4 },
  { hi: 0xffffffff, lo: 0xffffffff },
];
const NUMBERS = [0, 1, 2 ** 31, 2 ** 32 + 5, 2 ** 52, Number.MAX_SAFE_INTEGER];

function setOf(keys: readonly Key64[]): SortedKeyArray {
  const set = new SortedKeyArray(KEY64_BYTES);
  for (const key of keys) set.insert(-1 - set.indexOf(key), key);
  return set;
}

describe('a set of keys', () => {
  it('a set of keys is sorted, in whatever order they were inserted', () => {
    for (const order of [KEYS, KEYS.toReversed(), [3, 0, 5, 1, 4, 2].map((i) => KEYS[i]!)]) {
      const set = setOf(order);
      expect(KEYS.map((key) => set.indexOf(key))).toEqual([0, 1, 2, 3, 4, 5]);
      expect(KEYS.map((_, i) => set.keyAt(i))).toEqual(KEYS);
    }
  });

  it('a set of keys returns the index where a missing key would be inserted', () => {
    const set = setOf([KEYS[1]!, KEYS[4]!]);
    expect(KEYS.map((key) => set.indexOf(key))).toEqual([-1, 0, -2, -2, 1, -3]);
  });

  it('a set of keys lacks a key that was removed', () => {
    const set = setOf(KEYS);
    set.remove(2);
    expect(KEYS.map((key) => set.indexOf(key))).toEqual([0, 1, -3, 2, 3, 4]);
    expect([set.size, set.byteLength]).toEqual([5, 40]);
  });

  it('a set of keys equals the set that is made of its bytes', () => {
    const set = setOf(KEYS);
    const copy = new SortedKeyArray(KEY64_BYTES, set.bytes.slice(0, set.byteLength));
    copy.insert(-1 - copy.indexOf({ hi: 1, lo: 1 }), { hi: 1, lo: 1 });
    expect(KEYS.map((key) => copy.indexOf(key))).toEqual([0, 1, 2, 4, 5, 6]);
  });

  it('a set of keys is split into keys that stay and keys that move', () => {
    const set = setOf(KEYS);
    const moved = set.split(({ lo }) => lo > 4);
    expect(KEYS.map((key) => set.indexOf(key) >= 0)).toEqual([false, true, false, true, false, true]);
    expect(KEYS.map((key) => moved.indexOf(key) >= 0)).toEqual([true, false, true, false, true, false]);
    moved.insert(-1 - moved.indexOf(KEYS[1]!), KEYS[1]!);
    expect([set.size, moved.size]).toEqual([3, 4]);
  });
});

describe('numbers of keys', () => {
  it('the number of a key stays with it when other keys are inserted and removed', () => {
    const set = new SortedKeyArray(NUMBERED_BYTES);
    for (const i of [3, 0, 5, 1, 4, 2]) {
      const index = -1 - set.indexOf(KEYS[i]!);
      set.insert(index, KEYS[i]!);
      set.setNumber(index, NUMBERS[i]!);
    }
    expect(KEYS.map((key) => set.numberAt(set.indexOf(key)))).toEqual(NUMBERS);
    set.remove(1);
    set.setNumber(0, 7);
    expect([0, 1, 2, 3, 4].map((index) => set.numberAt(index))).toEqual([7, ...NUMBERS.slice(2)]);
  });
});

it('bytes that end within a key are rejected', () => {
  expect(() => new SortedKeyArray(KEY64_BYTES, new Uint8Array(12))).toThrow('a chunk ends within an entry');
});

import { expect, it } from '@jest/globals';
import { ByteWriter } from './record-bytes.js';
import { readCompressed, writeCompressed } from './prefix-compression.js';
import { NUMBERED_BYTES, SortedKeyArray } from './sorted-key-array.js';

function setOf(numbers: readonly number[]): SortedKeyArray {
  const set = new SortedKeyArray(NUMBERED_BYTES);
  for (const [i, number] of numbers.entries()) {
    set.insert(i, { hi: i, lo: 0xffffffff - i });
    set.setNumber(i, number);
  }
  return set;
}

function written(set: SortedKeyArray): Uint8Array {
  const writer = new ByteWriter();
  writeCompressed(set, writer);
  const { buffer, byteOffset, start, end } = writer.value();
  return new Uint8Array(buffer, byteOffset + start, end - start).slice();
}

it.each([
  ['one', [5], 16],
  ['the same', [7, 7, 7], 1 + 7 + 3 * 8],
  ['of the last byte', [2 ** 40, 2 ** 40 + 255], 1 + 6 + 2 * 9],
  ['of a day', [2 ** 52 + 5, 2 ** 52 + 2 ** 39], 1 + 2 + 2 * 13],
  ['anything', [0, 1, 2 ** 31, 2 ** 32 + 5, 2 ** 52, Number.MAX_SAFE_INTEGER], 1 + 6 * 15],
  ['many', Array.from({ length: 2_000 }, (_, i) => 2 ** 50 + i), 1 + 5 + 2_000 * 10],
])('keys are decoded as they were encoded, with numbers that are %s', (_, numbers, bytes) => {
  const set = setOf(numbers);
  const narrow = written(set);
  expect(narrow.length).toBe(bytes);
  const read = readCompressed(narrow);
  expect(numbers.map((_number, i) => [read.keyAt(i), read.numberAt(i)])).toEqual(
    numbers.map((number, i) => [set.keyAt(i), number]),
  );
  expect(read.size).toBe(numbers.length);
});

it.each([[[]], [[7]], [[8, 1, 2, 3, 4, 5, 6, 7, 8]], [[0, 1]], [[200, 0]]])(
  'bytes that are not a chunk are rejected: %j',
  (bytes) => {
    expect(() => readCompressed(Uint8Array.from(bytes))).toThrow('a chunk ends within an entry');
  },
);

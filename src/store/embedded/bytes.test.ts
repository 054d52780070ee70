import { describe, expect, it } from '@jest/globals';
import type { Key64 } from '../../counters/ids.js';
import { ByteReader, ByteWriter, indexOfKey, NO_KEYS, withKey, withoutKey } from './bytes.js';

const NUMBERS = [0, 1, 127, 128, 16_383, 16_384, 2 ** 31, 2 ** 32, 2 ** 40 + 1, 2 ** 52, Number.MAX_SAFE_INTEGER];

describe('a number', () => {
  it.each(NUMBERS)('%d is read as it was written', (number) => {
    const reader = new ByteReader(new ByteWriter().varint(number).varint(number).take());
    expect([reader.varint(), reader.varint(), reader.atEnd]).toEqual([number, number, true]);
  });

  it('takes a byte for every 7 bits', () => {
    const lengths = NUMBERS.map((number) => new ByteWriter().varint(number).take().length);
    expect(lengths).toEqual([1, 1, 1, 2, 2, 3, 5, 5, 6, 8, 8]);
  });

  it('that ends too early or is too large is an error', () => {
    expect(() => new ByteReader(Buffer.from([0x80])).varint()).toThrow('ends within a number');
    expect(() => new ByteReader(Buffer.from([])).varint()).toThrow('ends within a number');
    expect(() => new ByteReader(Buffer.alloc(20, 0xff)).varint()).toThrow('over 2^53 - 1');
  });
});

describe('bytes', () => {
  it('are written behind numbers, however many, and the writer starts anew', () => {
    const writer = new ByteWriter();
    for (const length of [0, 5, 1_023, 1_024, 100_000]) {
      const bytes = Buffer.alloc(length, length % 251);
      const reader = new ByteReader(writer.varint(length).raw(bytes).varint(7).take());
      expect(reader.raw(reader.varint()).equals(bytes)).toBe(true);
      expect([reader.varint(), reader.atEnd]).toEqual([7, true]);
    }
  });

  it('that end too early are an error', () => {
    expect(() => new ByteReader(Buffer.alloc(7)).raw(8)).toThrow('ends within its members');
  });

  it('are the own ones of who took them', () => {
    const writer = new ByteWriter();
    const first = writer.varint(1).take();
    writer.varint(2).take();
    expect([...first]).toEqual([1]);
  });
});

describe('a set of keys', () => {
  const keys: Key64[] = [
    { hi: 0, lo: 0 },
    { hi: 0, lo: 0xffffffff },
    { hi: 1, lo: 0 },
    { hi: 0x7fffffff, lo: 5 },
    { hi: 0x80000000, lo: 4 },
    { hi: 0xffffffff, lo: 0xffffffff },
  ];

  it('is in order whatever the order in which they came', () => {
    for (const order of [keys, keys.toReversed(), [3, 0, 5, 1, 4, 2].map((i) => keys[i]!)]) {
      const set = order.reduce((set, key) => withKey(set, -1 - indexOfKey(set, key), key), NO_KEYS);
      expect(keys.map((key) => indexOfKey(set, key))).toEqual([0, 1, 2, 3, 4, 5]);
    }
  });

  it('says where a missing key would stand', () => {
    const set = withKey(withKey(NO_KEYS, 0, keys[1]!), 1, keys[4]!);
    expect(keys.map((key) => indexOfKey(set, key))).toEqual([-1, 0, -2, -2, 1, -3]);
  });

  it('loses the key that is taken out, and stays as it was itself', () => {
    const set = keys.reduce((set, key, i) => withKey(set, i, key), NO_KEYS);
    const less = withoutKey(set, 2);
    expect(keys.map((key) => indexOfKey(less, key))).toEqual([0, 1, -3, 2, 3, 4]);
    expect(set).toHaveLength(48);
  });
});

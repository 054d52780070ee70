import { describe, expect, it } from '@jest/globals';
import { readVarint, VARINT_BYTES_MAX, writeVarint } from './varint.js';

const NUMBERS = [0, 1, 127, 128, 16_383, 16_384, 2 ** 31 - 1, 2 ** 31, 2 ** 32, 2 ** 40 + 1, Number.MAX_SAFE_INTEGER];

function read(bytes: readonly number[]): { value: number; position: number } {
  const source = { bytes: Uint8Array.from(bytes), position: 0 };
  return { value: readVarint(source), position: source.position };
}

describe('a varint', () => {
  it.each(NUMBERS)('a varint of %d is read as it was written, up to the byte after it', (number) => {
    const bytes = new Uint8Array(VARINT_BYTES_MAX + 1);
    const end = writeVarint(bytes, 1, number);
    const source = { bytes, position: 1 };
    expect([readVarint(source), source.position]).toEqual([number, end]);
  });

  it('a varint takes a byte for every 7 bits', () => {
    const lengths = NUMBERS.map((number) => writeVarint(new Uint8Array(VARINT_BYTES_MAX), 0, number));
    expect(lengths).toEqual([1, 1, 1, 2, 2, 3, 5, 5, 5, 6, 8]);
  });

  it('a varint is NaN if its bytes end too early', () => {
    expect(read([]).value).toBeNaN();
    expect(read([0x80, 0xff]).value).toBeNaN();
  });

  it('a varint whose bytes never end, zeros as well, exceeds every limit without all of them being read', () => {
    for (const byte of [0x80, 0xff]) {
      const { value, position } = read([...new Array<number>(300).fill(byte), 0]);
      expect([value, position]).toEqual([Infinity, VARINT_BYTES_MAX]);
    }
  });

  it('a varint above 2^53 - 1 keeps its size', () => {
    expect(read([...new Array<number>(7).fill(0xff), 0x7f]).value).toBeGreaterThan(Number.MAX_SAFE_INTEGER);
  });
});

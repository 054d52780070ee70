import { describe, expect, it } from '@jest/globals';
import { ByteReader, ByteWriter } from './record-bytes.js';

const NUMBERS = [0, 1, 127, 128, 16_383, 16_384, 2 ** 31, 2 ** 32, 2 ** 40 + 1, 2 ** 52, Number.MAX_SAFE_INTEGER];
/** The size of a writer's memory at first. */
const ROOM_BYTES = 65_536;

/** A copy of the bytes of the value. */
function taken({ buffer, start, end }: ReturnType<ByteWriter['value']>): Buffer {
  return Buffer.from(buffer.slice(start, end));
}

describe('a number', () => {
  it.each(NUMBERS)('the number %d is decoded as it was encoded', (number) => {
    const reader = new ByteReader(taken(new ByteWriter().varint(number).varint(number).value()));
    expect([reader.varint(), reader.varint(), reader.isAtEnd]).toEqual([number, number, true]);
  });

  it('a number takes a byte for every 7 bits', () => {
    const lengths = NUMBERS.map((number) => taken(new ByteWriter().varint(number).value()).length);
    expect(lengths).toEqual([1, 1, 1, 2, 2, 3, 5, 5, 6, 8, 8]);
  });

  it('a number that ends too early or is too large is an error', () => {
    expect(() => new ByteReader(Buffer.from([0x80])).varint()).toThrow('ends within a number');
    expect(() => new ByteReader(Buffer.from([])).varint()).toThrow('ends within a number');
    expect(() => new ByteReader(Buffer.alloc(20, 0xff)).varint()).toThrow('over 2^53 - 1');
    expect(() => new ByteReader(Buffer.from([...Buffer.alloc(200, 0x80), 0])).varint()).toThrow('over 2^53 - 1');
  });
});

describe('bytes', () => {
  it('bytes of any length are written behind numbers, in full or in part', () => {
    const writer = new ByteWriter();
    for (const length of [0, 5, 160, 161, 1_023, 1_024, 100_000]) {
      const bytes = Buffer.alloc(length + 3, length % 251);
      const reader = new ByteReader(taken(writer.varint(length).raw(bytes, length).varint(7).value()));
      expect(Buffer.from(reader.raw(reader.varint())).equals(bytes.subarray(3))).toBe(true);
      expect([reader.varint(), reader.isAtEnd]).toEqual([7, true]);
    }
  });

  it('bytes that end too early are an error', () => {
    expect(() => new ByteReader(Buffer.alloc(7)).raw(8)).toThrow('ends within its members');
  });
});

describe('values', () => {
  it('values stay where they are when others follow, even if these need more memory', () => {
    const writer = new ByteWriter();
    const values = [1, 2, ROOM_BYTES, 3, 4 * ROOM_BYTES, 4].map((number) => {
      const { buffer, start, end } = writer
        .varint(number)
        .raw(Buffer.alloc(number, number & 0xff))
        .value();
      return { number, buffer, start, end };
    });
    for (const { number, buffer, start, end } of values) {
      const reader = new ByteReader(Buffer.from(buffer, start, end - start));
      expect(reader.varint()).toBe(number);
      expect(Buffer.from(reader.raw(number)).equals(Buffer.alloc(number, number & 0xff))).toBe(true);
      expect(reader.isAtEnd).toBe(true);
    }
  });

  it('values are overwritten after a reset', () => {
    const writer = new ByteWriter();
    const first = writer.varint(1).value();
    writer.reset();
    writer.varint(2).value();
    expect([...taken(first)]).toEqual([2]);
  });
});

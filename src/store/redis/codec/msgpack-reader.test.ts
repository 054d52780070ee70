import { describe, expect, it } from '@jest/globals';
import { COUNT_MAX } from '../../../counters/pn-counter.js';
import { MsgpackReader } from './msgpack-reader.js';

describe('MsgpackReader', () => {
  it.each([
    ['00', 0],
    ['7f', 127],
    ['cc80', 128],
    ['cdffff', 65_535],
    ['ceffffffff', 2 ** 32 - 1],
    ['cf0000000100000000', 2 ** 32],
    ['cf001fffffffffffff', COUNT_MAX],
  ])('the bytes %s are the integer %i', (hex, integer) => {
    expect(new MsgpackReader(Buffer.from(hex, 'hex')).readInteger()).toBe(integer);
  });

  it.each([0, 31, 32, 255, 256, 500, 65_536])(
    'the reader reads a string of %i bytes and the value after it',
    (length) => {
      const bytes = Buffer.alloc(length, 5);
      const digits = length.toString(16);
      const head =
        length < 32 ? (0xa0 + length).toString(16) : length < 256 ? `d9${digits}` : `da${digits.padStart(4, '0')}`;
      const large = `db${digits.padStart(8, '0')}`;
      const values = new MsgpackReader(
        Buffer.concat([Buffer.from(length > 0xffff ? large : head, 'hex'), bytes, Buffer.from([9])]),
      );
      expect(values.readBytes()).toEqual(Uint8Array.from(bytes));
      expect(values.readInteger()).toBe(9);
    },
  );

  it('the reader rejects other types', () => {
    expect(() => new MsgpackReader(Buffer.from([0xc0])).readInteger()).toThrow('no integer at 0 of c0');
    expect(() => new MsgpackReader(Buffer.from([5])).readBytes()).toThrow('no string at 0 of 05');
  });

  it.each(['', 'cc', 'cd01', 'ce010203', 'cf01020304050607'])(
    'the reader rejects an integer that ends too early: %s',
    (hex) => {
      expect(() => new MsgpackReader(Buffer.from(hex, 'hex')).readInteger()).toThrow();
    },
  );

  it('the reader rejects an integer over 2^53 - 1', () => {
    const values = new MsgpackReader(Buffer.from('cf0020000000000000', 'hex'));
    expect(() => values.readInteger()).toThrow('no integer at 0 of cf0020000000000000');
  });

  it.each(['', 'a1', 'd9', 'd901', 'da00', 'db00000001'])(
    'the reader rejects a string that ends too early: %s',
    (hex) => {
      expect(() => new MsgpackReader(Buffer.from(hex, 'hex')).readText()).toThrow();
    },
  );
});

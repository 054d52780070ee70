import { ByteBuffer } from '../../../common/byte-buffer.js';
import type { Key64 } from '../../../counters/ids.js';

const FIRST_BYTES = 16_384;
const COUNT_BYTES = 5;
/** The longest text that is written. Strings of msgpack may be longer; ids are not. */
const TEXT_MAX = 255;
const TWO_32 = 0x1_0000_0000;
const BILLION = 1_000_000_000;
/** The multiplier of a linear congruential generator (Numerical Recipes, 1992): its products are exact in Lua's doubles, too. */
export const HASH_MULTIPLIER = 1_664_525;

/** Writes a number of msgpack values, and then the values. It allocates no objects, because each operation writes several values. */
export class MsgpackWriter extends ByteBuffer {
  #values = 0;

  constructor() {
    super(FIRST_BYTES);
    this.length = COUNT_BYTES;
  }

  /** @returns the values since the last call, after their number */
  take(): Buffer {
    this.bytes[0] = 0xce;
    this.bytes.writeUInt32BE(this.#values, 1);
    const taken = Buffer.from(this.bytes.subarray(0, this.length));
    this.length = COUNT_BYTES;
    this.#values = 0;
    return taken;
  }

  /** From -32 to 2^53 - 1. */
  writeInteger(value: number): void {
    this.#beginValue();
    const bytes = this.bytes;
    if (value < 0x80) {
      bytes[this.length++] = value;
    } else if (value < 0x1_0000) {
      bytes[this.length++] = 0xcd;
      bytes[this.length++] = value >>> 8;
      bytes[this.length++] = value;
    } else if (value < TWO_32) {
      bytes[this.length++] = 0xce;
      this.#half(value);
    } else {
      bytes[this.length++] = 0xcf;
      this.#half(value / TWO_32);
      this.#half(value);
    }
  }

  /** @param text at most 255 ASCII characters */
  writeText(text: string): void {
    this.#beginValue();
    const { length } = text;
    const bytes = this.bytes;
    if (length >= 32) bytes[this.length++] = 0xd9;
    bytes[this.length++] = length < 32 ? 0xa0 + length : length;
    for (let i = 0; i < length; i++) bytes[this.length++] = text.charCodeAt(i);
  }

  /** As text: a signed integer in decimal, of which Redis keeps 8 bytes in packed sets and hashes. */
  writeKey({ hi, lo }: Key64): void {
    this.#beginValue();
    const start = this.length++;
    let [high, low] = [hi, lo];
    if (hi >= 0x8000_0000) {
      this.bytes[this.length++] = 45;
      high = negatedHigh(hi, lo);
      low = -lo >>> 0;
    }
    // Long division by a billion, 16 bits at a time: each step stays below 2^53.
    const first = Math.floor(high / BILLION);
    const upper = (high - first * BILLION) * 0x1_0000 + (low >>> 16);
    const second = Math.floor(upper / BILLION);
    const lower = (upper - second * BILLION) * 0x1_0000 + (low & 0xffff);
    const third = Math.floor(lower / BILLION);
    this.#digits(first * TWO_32 + second * 0x1_0000 + third, lower - third * BILLION);
    this.bytes[start] = 0xa0 + this.length - start - 1;
  }

  #digits(billions: number, rest: number): void {
    const top = Math.floor(billions / BILLION);
    const middle = billions - top * BILLION;
    if (top > 0) this.#decimal(top, lengthOf(top));
    if (billions > 0) this.#decimal(middle, top > 0 ? 9 : lengthOf(middle));
    this.#decimal(rest, billions > 0 ? 9 : lengthOf(rest));
  }

  /** Makes room for one value and counts it. */
  #beginValue(): void {
    this.#values += 1;
    this.reserve(TEXT_MAX + COUNT_BYTES);
  }

  /** The low 32 bits of the integer part. */
  #half(value: number): void {
    const bytes = this.bytes;
    bytes[this.length++] = value >>> 24;
    bytes[this.length++] = value >>> 16;
    bytes[this.length++] = value >>> 8;
    bytes[this.length++] = value >>> 0;
  }

  #decimal(value: number, digits: number): void {
    let left = value;
    for (let at = this.length + digits - 1; at >= this.length; at--) {
      const rest = (left / 10) | 0;
      this.bytes[at] = 48 + left - rest * 10;
      left = rest;
    }
    this.length += digits;
  }
}

/** A key's chunk is found by this hash of 20 bits, of the last nine digits of its decimal. Equals `hash_key` in scripts/lib/chunks.lua. */
export function hashKey({ hi, lo }: Key64): number {
  const digits = hi >= 0x8000_0000 ? restOf(negatedHigh(hi, lo), -lo >>> 0) : restOf(hi, lo);
  return Math.imul(digits, HASH_MULTIPLIER) >>> 12;
}

function negatedHigh(hi: number, lo: number): number {
  return (lo === 0 ? -hi : ~hi) >>> 0;
}

function restOf(high: number, low: number): number {
  const upper = (high - Math.floor(high / BILLION) * BILLION) * 0x1_0000 + (low >>> 16);
  const lower = (upper - Math.floor(upper / BILLION) * BILLION) * 0x1_0000 + (low & 0xffff);
  return lower - Math.floor(lower / BILLION) * BILLION;
}

function lengthOf(value: number): number {
  let length = 1;
  for (let limit = 10; value >= limit; limit *= 10) length += 1;
  return length;
}

import type { Key64 } from '../../counters/ids.js';

/** Bytes of a Key64, big-endian, so that byte order is number order. */
export const KEY64_BYTES = 8;

/**
 * Writes unsigned LEB128 numbers (7 bits a byte, low first; DWARF 4, section 7.6) and keys into one buffer that is
 * used again for the next record. Numbers up to 2^53 - 1 take 1 to 8 bytes.
 */
export class ByteWriter {
  #bytes = Buffer.allocUnsafe(1024);
  #at = 0;

  varint(value: number): this {
    this.#reserve(8);
    let rest = value;
    while (rest > 0x7f) {
      this.#bytes[this.#at++] = (rest % 0x80) | 0x80;
      rest = Math.floor(rest / 0x80);
    }
    this.#bytes[this.#at++] = rest;
    return this;
  }

  raw(bytes: Uint8Array): this {
    this.#reserve(bytes.length);
    this.#bytes.set(bytes, this.#at);
    this.#at += bytes.length;
    return this;
  }

  /** A copy of what was written; the writer starts anew. */
  take(): Buffer {
    const copy = Buffer.from(this.#bytes.subarray(0, this.#at));
    this.#at = 0;
    return copy;
  }

  #reserve(more: number): void {
    if (this.#at + more <= this.#bytes.length) return;
    const larger = Buffer.allocUnsafe(2 * (this.#at + more));
    larger.set(this.#bytes.subarray(0, this.#at));
    this.#bytes = larger;
  }
}

export class ByteReader {
  #at = 0;

  constructor(readonly bytes: Buffer) {}

  get atEnd(): boolean {
    return this.#at >= this.bytes.length;
  }

  /** @throws RangeError where the bytes end in the middle, or the number exceeds 2^53 - 1. */
  varint(): number {
    let value = 0;
    let scale = 1;
    for (;;) {
      const byte = this.bytes[this.#at++];
      if (byte === undefined) throw new RangeError('a record ends within a number');
      value += (byte & 0x7f) * scale;
      if (value > Number.MAX_SAFE_INTEGER) throw new RangeError('a record holds a number over 2^53 - 1');
      if (byte < 0x80) return value;
      scale *= 0x80;
    }
  }

  /** A copy: whoever keeps it does not keep the whole record. */
  raw(length: number): Buffer {
    if (this.#at + length > this.bytes.length) throw new RangeError('a record ends within its members');
    const copy = Buffer.from(this.bytes.subarray(this.#at, this.#at + length));
    this.#at += length;
    return copy;
  }
}

/** A set of keys: their bytes, sorted, without separators. */
export type KeySet = Buffer;

export const NO_KEYS: KeySet = Buffer.alloc(0);

/** Where the key stands, or -1 - where it would stand; in keys, not bytes. */
export function indexOfKey(set: KeySet, { hi, lo }: Key64): number {
  let from = 0;
  let to = set.length / KEY64_BYTES;
  while (from < to) {
    const middle = (from + to) >>> 1;
    const at = middle * KEY64_BYTES;
    const order = set.readUInt32BE(at) - hi || set.readUInt32BE(at + 4) - lo;
    if (order === 0) return middle;
    if (order < 0) from = middle + 1;
    else to = middle;
  }
  return -1 - from;
}

export function withKey(set: KeySet, index: number, { hi, lo }: Key64): KeySet {
  const at = index * KEY64_BYTES;
  const larger = Buffer.allocUnsafe(set.length + KEY64_BYTES);
  set.copy(larger, 0, 0, at);
  larger.writeUInt32BE(hi, at);
  larger.writeUInt32BE(lo, at + 4);
  set.copy(larger, at + KEY64_BYTES, at);
  return larger;
}

export function withoutKey(set: KeySet, index: number): KeySet {
  const at = index * KEY64_BYTES;
  return Buffer.concat([set.subarray(0, at), set.subarray(at + KEY64_BYTES)]);
}

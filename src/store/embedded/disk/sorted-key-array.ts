import type { Key64 } from '../../../counters/ids.js';

/** Bytes of a Key64, big-endian, so that byte order is number order. */
export const KEY64_BYTES = 8;
/** Bytes of a key with a number up to 2^53 - 1. */
export const NUMBERED_BYTES = 15;

const NO_BYTES = new Uint8Array(0);
/** The first allocation has memory for this many entries, each further one for twice as many as before. */
const CAPACITY_MIN = 4;

/** A set of keys, each with or without a number, as their sorted bytes without separators. Changed in place. */
export class SortedKeyArray {
  #bytes: Uint8Array;
  #length: number;

  /**
   * @param width bytes of an entry: KEY64_BYTES or NUMBERED_BYTES
   * @param bytes become the set's own
   * @throws RangeError if they end within an entry
   */
  constructor(
    readonly width: number,
    bytes: Uint8Array = NO_BYTES,
  ) {
    if (bytes.length % width !== 0) throw new RangeError('a chunk ends within an entry');
    this.#bytes = bytes;
    this.#length = bytes.length;
  }

  get size(): number {
    return this.#length / this.width;
  }

  get byteLength(): number {
    return this.#length;
  }

  /** Only the first `byteLength` of them belong to the set. */
  get bytes(): Uint8Array {
    return this.#bytes;
  }

  /** @returns the index of the key, or -1 minus the index where it would be inserted; in keys, not bytes */
  indexOf({ hi, lo }: Key64): number {
    const { width } = this;
    const bytes = this.#bytes;
    let from = 0;
    let to = this.#length / width;
    while (from < to) {
      const middle = (from + to) >>> 1;
      const at = middle * width;
      const order = readUint32(bytes, at) - hi || readUint32(bytes, at + 4) - lo;
      if (order === 0) return middle;
      if (order < 0) from = middle + 1;
      else to = middle;
    }
    return -1 - from;
  }

  keyAt(index: number): Key64 {
    const at = index * this.width;
    return { hi: readUint32(this.#bytes, at), lo: readUint32(this.#bytes, at + 4) };
  }

  /** The caller has to set the number, if the set has numbers. */
  insert(index: number, { hi, lo }: Key64): void {
    const { width } = this;
    const at = index * width;
    this.#reserve(width);
    this.#bytes.copyWithin(at + width, at, this.#length);
    this.#length += width;
    writeUint32(this.#bytes, at, hi);
    writeUint32(this.#bytes, at + 4, lo);
  }

  remove(index: number): void {
    const at = index * this.width;
    this.#bytes.copyWithin(at, at + this.width, this.#length);
    this.#length -= this.width;
  }

  numberAt(index: number): number {
    const bytes = this.#bytes;
    const at = index * this.width + KEY64_BYTES;
    const high = (bytes[at]! << 16) | (bytes[at + 1]! << 8) | bytes[at + 2]!;
    return high * 0x100000000 + readUint32(bytes, at + 3);
  }

  setNumber(index: number, value: number): void {
    const bytes = this.#bytes;
    const at = index * this.width + KEY64_BYTES;
    const high = Math.floor(value / 0x100000000);
    bytes[at] = high >>> 16;
    bytes[at + 1] = high >>> 8;
    bytes[at + 2] = high;
    writeUint32(bytes, at + 3, value >>> 0);
  }

  /** Removes all keys and keeps the memory. */
  clear(): void {
    this.#length = 0;
  }

  /** Removes the keys for which `stays` is false. @returns these */
  split(stays: (key: Key64) => boolean): SortedKeyArray {
    const { width } = this;
    const moved = new SortedKeyArray(width, new Uint8Array(this.#length));
    moved.#length = 0;
    const all = this.#length;
    this.#length = 0;
    for (let at = 0; at < all; at += width) {
      const target = stays(this.keyAt(at / width)) ? this : moved;
      target.#bytes.set(this.#bytes.subarray(at, at + width), target.#length);
      target.#length += width;
    }
    return moved;
  }

  #reserve(more: number): void {
    if (this.#length + more <= this.#bytes.length) return;
    const larger = new Uint8Array(Math.max(CAPACITY_MIN * this.width, 2 * this.#length));
    larger.set(this.#bytes.subarray(0, this.#length));
    this.#bytes = larger;
  }
}

function readUint32(bytes: Uint8Array, at: number): number {
  return ((bytes[at]! << 24) | (bytes[at + 1]! << 16) | (bytes[at + 2]! << 8) | bytes[at + 3]!) >>> 0;
}

function writeUint32(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value >>> 24;
  bytes[at + 1] = value >>> 16;
  bytes[at + 2] = value >>> 8;
  bytes[at + 3] = value;
}

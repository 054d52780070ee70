import type { Key64 } from '../../../counters/ids.js';
import { hashKey } from './msgpack-writer.js';

const FIRST_KEYS = 512;
/** A hash of 32 bits and an index below this fit a double exactly. */
const INDEXES = 2 ** 20;
/** Up to here sorting by insertion is faster than the typed array's own sort. */
const FEW = 24;

/**
 * Sorts indices by the bits of their hashes, lowest bit first. In this order all hashes of a chunk are neighbours, whatever the
 * number of chunks is, and so are equal hashes.
 */
export class HashSorter {
  #order = new Float64Array(FIRST_KEYS);
  #count = 0;

  clear(): void {
    this.#count = 0;
  }

  /** @param index below 2^20; @param hash of at most 32 bits */
  add(index: number, hash: number): void {
    if (this.#count === this.#order.length) {
      const larger = new Float64Array(2 * this.#count);
      larger.set(this.#order);
      this.#order = larger;
    }
    this.#order[this.#count++] = reverseBits(hash) * INDEXES + index;
  }

  get count(): number {
    return this.#count;
  }

  sort(): void {
    const order = this.#order;
    if (this.#count > FEW) {
      order.subarray(0, this.#count).sort();
      return;
    }
    for (let i = 1; i < this.#count; i++) {
      const one = order[i]!;
      let at = i;
      for (; at > 0 && order[at - 1]! > one; at--) order[at] = order[at - 1]!;
      order[at] = one;
    }
  }

  /** @param position in the order, from 0 */
  indexAt(position: number): number {
    return this.#order[position]! & (INDEXES - 1);
  }
}

/** Sorts operations by the hashes of their sessions' or actors' keys. */
export class KeySorter {
  readonly sorter = new HashSorter();
  readonly #keys: Key64[] = [];
  #hashes = new Int32Array(FIRST_KEYS);

  add(index: number, key: Key64): void {
    const hash = hashKey(key);
    if (index >= this.#hashes.length) {
      const larger = new Int32Array(2 * index);
      larger.set(this.#hashes);
      this.#hashes = larger;
    }
    this.#hashes[index] = hash;
    this.#keys[index] = key;
    this.sorter.add(index, hash);
  }

  hashAt(index: number): number {
    return this.#hashes[index]!;
  }

  /** @returns the position, from 1, of the operation in `found` with the same key as this one, which is added if there is none */
  findOrAdd(found: number[], index: number): number {
    const hash = this.#hashes[index];
    const { hi, lo } = this.#keys[index]!;
    for (let at = found.length - 1; at >= 0 && this.#hashes[found[at]!] === hash; at--) {
      const other = this.#keys[found[at]!]!;
      if (other.hi === hi && other.lo === lo) return at + 1;
    }
    return found.push(index);
  }
}

export function reverseBits(bits: number): number {
  let x = bits;
  x = ((x >>> 1) & 0x5555_5555) | ((x & 0x5555_5555) << 1);
  x = ((x >>> 2) & 0x3333_3333) | ((x & 0x3333_3333) << 2);
  x = ((x >>> 4) & 0x0f0f_0f0f) | ((x & 0x0f0f_0f0f) << 4);
  x = ((x >>> 8) & 0x00ff_00ff) | ((x & 0x00ff_00ff) << 8);
  return ((x >>> 16) | (x << 16)) >>> 0;
}

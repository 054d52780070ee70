import type { Key64 } from '../../../counters/ids.js';
import { hashKey } from './msgpack-writer.js';

const FIRST_KEYS = 512;
/** Room for an index beside a hash of 32 bits in what a double holds exactly. */
const INDEXES = 2 ** 20;
/** Up to here sorting by insertion is faster than a call of the typed array's own. */
const FEW = 24;

/**
 * Puts things in the order of their hashes' bits, the lowest first: whatever the number of chunks is, in this order all of a
 * chunk are neighbours, and so are equal ones.
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
      let indexAt = i;
      for (; indexAt > 0 && order[indexAt - 1]! > one; indexAt--) order[indexAt] = order[indexAt - 1]!;
      order[indexAt] = one;
    }
  }

  /** The index of the one at this place, from 0. */
  at(place: number): number {
    return this.#order[place]! & (INDEXES - 1);
  }
}

/** The keys of some of a batch's operations. */
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

  /** The place, from 1, of a key that equals the one at `index` among those found; it is added if there is none. */
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

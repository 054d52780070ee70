import type { Key64 } from '../../../counters/ids.js';

/** The key as a signed integer in decimal, of which Redis keeps 8 bytes in packed sets and hashes; `''` for no actor. */
export function toDecimalKey(key: Key64 | null): string {
  return key === null ? '' : BigInt.asIntN(64, (BigInt(key.hi) << 32n) | BigInt(key.lo)).toString();
}

/** The inverse of `toDecimalKey`. */
export function parseDecimalKey(decimal: string): Key64 {
  const bits = BigInt.asUintN(64, BigInt(decimal));
  return { hi: Number(bits >> 32n), lo: Number(bits & 0xffff_ffffn) };
}

/** Unsigned LEB128 numbers up to 2^53 - 1: 7 bits a byte, low first (DWARF 4, section 7.6). */

/** Bytes of the largest number. */
export const VARINT_BYTES_MAX = 8;
/** Scale of the last of these bytes. */
const SCALE_MAX = 2 ** 49;

/** @returns the index after the number */
export function writeVarint(bytes: Uint8Array, index: number, value: number): number {
  let at = index;
  let rest = value;
  // From 2^31 on the bitwise operators would cut the number off; below it they are twice as fast.
  for (; rest >= 0x80000000; rest = Math.floor(rest / 0x80)) bytes[at++] = (rest % 0x80) | 0x80;
  for (; rest > 0x7f; rest >>>= 7) bytes[at++] = (rest & 0x7f) | 0x80;
  bytes[at++] = rest;
  return at;
}

/** Bytes that are read from front to back. */
export interface ByteSource {
  readonly bytes: Uint8Array;
  /** Index of the byte that is read next. */
  position: number;
}

/**
 * @returns the number, which the caller compares with its limit; NaN if the bytes end within it, and Infinity if it has more than
 *     VARINT_BYTES_MAX bytes, even if they add only zeros: otherwise its scale would become infinite, and the number NaN
 */
export function readVarint(source: ByteSource): number {
  const { bytes } = source;
  let value = 0;
  let scale = 1;
  for (;;) {
    const byte = bytes[source.position++];
    if (byte === undefined) return NaN;
    value += (byte & 0x7f) * scale;
    if (byte < 0x80) return value;
    if (scale === SCALE_MAX) return Infinity;
    scale *= 0x80;
  }
}

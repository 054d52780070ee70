import type { ByteWriter } from './record-bytes.js';
import { KEY64_BYTES, NUMBERED_BYTES, SortedKeyArray } from './sorted-key-array.js';

const NUMBER_BYTES = NUMBERED_BYTES - KEY64_BYTES;

/** Grows to the size of the largest chunk that was written. */
let scratch = new Uint8Array(8_192);

/*
 * Format of a chunk of keys with numbers. High bytes that all numbers share are stored once. These are two of seven bytes where stamps
 * are of the same one and a half days, three where they are of the same nine minutes, and most bytes of a session's seq.
 *
 *     how many bytes are shared (1 byte) · these bytes · (key · the other bytes of its number)[]
 */

/** Costs one copy. */
export function writeCompressed(entries: SortedKeyArray, writer: ByteWriter): void {
  const { bytes, byteLength } = entries;
  const shared = countSharedBytes(bytes, byteLength);
  if (scratch.length < byteLength) scratch = new Uint8Array(2 * byteLength);
  let to = 0;
  scratch[to++] = shared;
  for (let i = 0; i < shared; i++) scratch[to++] = bytes[KEY64_BYTES + i]!;
  for (let at = 0; at < byteLength; at += NUMBERED_BYTES) {
    for (let i = 0; i < KEY64_BYTES; i++) scratch[to++] = bytes[at + i]!;
    for (let i = KEY64_BYTES + shared; i < NUMBERED_BYTES; i++) scratch[to++] = bytes[at + i]!;
  }
  writer.raw(scratch, to);
}

/** @throws RangeError if the bytes are no such chunk */
export function readCompressed(compressed: Uint8Array): SortedKeyArray {
  const shared = compressed[0] ?? NaN;
  const first = 1 + shared;
  const width = NUMBERED_BYTES - shared;
  if (!(shared <= NUMBER_BYTES && first <= compressed.length && (compressed.length - first) % width === 0)) {
    throw new RangeError('a chunk ends within an entry');
  }
  const bytes = new Uint8Array(((compressed.length - first) / width) * NUMBERED_BYTES);
  for (let from = first, to = 0; from < compressed.length; from += width, to += NUMBERED_BYTES) {
    for (let i = 0; i < KEY64_BYTES; i++) bytes[to + i] = compressed[from + i]!;
    for (let i = 0; i < shared; i++) bytes[to + KEY64_BYTES + i] = compressed[1 + i]!;
    for (let i = shared; i < NUMBER_BYTES; i++)
      bytes[to + KEY64_BYTES + i] = compressed[from + KEY64_BYTES + i - shared]!;
  }
  return new SortedKeyArray(NUMBERED_BYTES, bytes);
}

/** @returns how many high bytes all numbers have in common */
function countSharedBytes(bytes: Uint8Array, byteLength: number): number {
  let shared = NUMBER_BYTES;
  for (let at = NUMBERED_BYTES; at < byteLength && shared > 0; at += NUMBERED_BYTES) {
    let same = 0;
    while (same < shared && bytes[at + KEY64_BYTES + same] === bytes[KEY64_BYTES + same]) same++;
    shared = same;
  }
  return shared;
}

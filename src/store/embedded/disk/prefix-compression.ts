import type { ByteWriter } from './record-bytes.js';
import { KEY64_BYTES, NUMBERED_BYTES, SortedKeyArray } from './sorted-key-array.js';

const NUMBER_BYTES = NUMBERED_BYTES - KEY64_BYTES;

/** Grows to the largest chunk that was written. */
let scratch = new Uint8Array(8_192);

/*
 * Keys with numbers as chunks of them stand on disk: the high bytes that all numbers share stand once. These are two of seven where
 * stamps are of the same one and a half days, three where they are of the same nine minutes, and most of a session's seq.
 *
 *     how many bytes are shared (1 byte) · these · (key · the other bytes of its number)[]
 */

/** Costs one copy. */
export function writeCompressed(entries: SortedKeyArray, writer: ByteWriter): void {
  const { bytes, byteLength } = entries;
  const shared = sharedBytes(bytes, byteLength);
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

/** @throws RangeError where the bytes are no such thing */
export function readCompressed(narrow: Uint8Array): SortedKeyArray {
  const shared = narrow[0] ?? NaN;
  const first = 1 + shared;
  const width = NUMBERED_BYTES - shared;
  if (!(shared <= NUMBER_BYTES && first <= narrow.length && (narrow.length - first) % width === 0)) {
    throw new RangeError('a chunk ends within an entry');
  }
  const bytes = new Uint8Array(((narrow.length - first) / width) * NUMBERED_BYTES);
  for (let from = first, to = 0; from < narrow.length; from += width, to += NUMBERED_BYTES) {
    for (let i = 0; i < KEY64_BYTES; i++) bytes[to + i] = narrow[from + i]!;
    for (let i = 0; i < shared; i++) bytes[to + KEY64_BYTES + i] = narrow[1 + i]!;
    for (let i = shared; i < NUMBER_BYTES; i++) bytes[to + KEY64_BYTES + i] = narrow[from + KEY64_BYTES + i - shared]!;
  }
  return new SortedKeyArray(NUMBERED_BYTES, bytes);
}

/** How many high bytes all numbers have in common. */
function sharedBytes(bytes: Uint8Array, byteLength: number): number {
  let shared = NUMBER_BYTES;
  for (let at = NUMBERED_BYTES; at < byteLength && shared > 0; at += NUMBERED_BYTES) {
    let same = 0;
    while (same < shared && bytes[at + KEY64_BYTES + same] === bytes[KEY64_BYTES + same]) same++;
    shared = same;
  }
  return shared;
}

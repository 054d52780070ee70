import { hash } from 'node:crypto';

/** 64 bits as two unsigned halves. */
interface Bits64 {
  readonly hi: number;
  readonly lo: number;
}

/**
 * The first 64 bits of the SHA-256 of a text. A text whose digest is that of another one is only found by trying 2^64. Cost: about 1 µs.
 */
export function digest64(text: string): Bits64 {
  return first64(hash('sha256', text, 'buffer'));
}

/** @param digest of 8 bytes or more */
export function first64(digest: Buffer): Bits64 {
  return { hi: digest.readUInt32BE(0), lo: digest.readUInt32BE(4) };
}

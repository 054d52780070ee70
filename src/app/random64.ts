import { randomBytes } from 'node:crypto';

/** 64 random bits in hexadecimal. */
export function random64(): string {
  return randomBytes(8).toString('hex');
}

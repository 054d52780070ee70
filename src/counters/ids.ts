/** Ids of posts that a store may hold: earlier versions accepted `.` and `..`, too. */
export const STORED_POST_PATTERN = /^[A-Za-z0-9_.:-]{1,64}$/;

/**
 * The 64-bit key of an actor or a session, as two unsigned halves: JavaScript numbers hold only 53 bits, and a bigint costs an
 * allocation a step. A connection computes the keys of its actor and session once, not once for an event.
 */
export interface Key64 {
  readonly hi: number;
  readonly lo: number;
}

/** The key as a signed number, as databases keep it. */
export function toInt64({ hi, lo }: Key64): bigint {
  return BigInt.asIntN(64, (BigInt(hi) << 32n) | BigInt(lo));
}

/** The key as 16 hexadecimal digits. */
export function toHex64({ hi, lo }: Key64): string {
  return `${toHex32(hi)}${toHex32(lo)}`;
}

function toHex32(value: number): string {
  return value.toString(16).padStart(8, '0');
}

/** @param int64 from -2^63 to 2^63 - 1 */
export function fromInt64(int64: bigint): Key64 {
  return { hi: Number(BigInt.asUintN(32, int64 >> 32n)), lo: Number(BigInt.asUintN(32, int64)) };
}

/** The key as a text of 8 characters, one a byte: maps find it by its value, and Redis keeps it in 8 bytes. */
export function toKeyText({ hi, lo }: Key64): string {
  return Buffer.of(hi >>> 24, hi >>> 16, hi >>> 8, hi, lo >>> 24, lo >>> 16, lo >>> 8, lo).toString('latin1');
}

/** How the name of an actor becomes its key: any name by a hash, or decimal int64 names as they are. */
export const ACTOR_KEYS = ['hash', 'int64'] as const;
/** Fixed for the lifetime of the data and equal in all regions, because the data holds keys of this kind. */
export type ActorKeys = (typeof ACTOR_KEYS)[number];

import { fmix32, fnv1a } from '../common/hash.js';

/** Ids of posts that a store may hold: earlier versions accepted `.` and `..`, too. */
export const STORED_POST_PATTERN = /^[A-Za-z0-9_.:-]{1,64}$/;

/**
 * Copies an ASCII text into memory of its own. V8 keeps a slice of a string by keeping the whole string: an id of 13 characters
 * or more out of a polling request or a URL would hold up to 256 KB for as long as the id is kept.
 */
export function copyText(text: string): string {
  return Buffer.from(text, 'latin1').toString('latin1');
}

/**
 * The 64-bit key of an actor or a session, as two unsigned halves: JavaScript numbers hold only 53 bits, and a bigint costs an
 * allocation a step. A connection computes the keys of its actor and session once, not once for an event.
 */
export interface Key64 {
  readonly hi: number;
  readonly lo: number;
}

/** How the name of an actor becomes its key: any name by a hash, or decimal int64 names as they are. */
export const ACTOR_KEYS = ['hash', 'int64'] as const;
/** Fixed for the lifetime of the data and equal in all regions, because the data holds keys of this kind. */
export type ActorKeys = (typeof ACTOR_KEYS)[number];

/** The bucket of a post, 0 to `buckets` - 1. Fixed for the lifetime of the data. */
export function bucketOf(post: string, buckets: number): number {
  return fmix32(fnv1a(post)) % buckets;
}

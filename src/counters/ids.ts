import { fmix32, fnv1a } from '../common/hash.js';

/** Names of things: posts, and the 64-bit keys under which actors and sessions are kept. */

/**
 * A post's id. Without its first and last character it can stand in other patterns. Not `.` and `..`: clients and balancers
 * take these out of paths.
 */
export const POST_PATTERN = /^(?!\.\.?(?![A-Za-z0-9_.:-]))[A-Za-z0-9_.:-]{1,64}$/;

export const POST_RULE = 'a string of 1 to 64 characters out of A-Z a-z 0-9 _ . : -, other than . and ..';

/** Ids that a store may hold: earlier versions took `.` and `..`, too. */
export const STORED_POST_PATTERN = /^[A-Za-z0-9_.:-]{1,64}$/;

export function isPostId(id: string): boolean {
  return POST_PATTERN.test(id);
}

/**
 * The same id in memory of its own. V8 keeps a text that was cut out of a longer one by keeping the whole of it: an id of
 * 13 characters or more out of a polling request or of a URL would hold up to 256 KB for as long as the id is remembered.
 */
export function copyText(id: string): string {
  return Buffer.from(id, 'latin1').toString('latin1');
}

/**
 * A 64-bit key as two unsigned halves: JavaScript numbers hold only 53 bits, and a bigint costs an allocation a step.
 * An actor or a session is turned into its key once for a connection, not once for an event.
 */
export interface Key64 {
  readonly hi: number;
  readonly lo: number;
}

/** How the name of an actor becomes its key: by a hash of any name, or names are decimal int64 that are keys themselves. */
export const ACTOR_KEYS = ['hash', 'int64'] as const;
/** The same for the lifetime of the data, and in all regions: the keys in it are of this kind. */
export type ActorKeys = (typeof ACTOR_KEYS)[number];

/** The bucket of a post, 0 to `buckets` - 1. Fixed for the lifetime of the data. */
export function bucketOf(post: string, buckets: number): number {
  return fmix32(fnv1a(post)) % buckets;
}

/** Limits of what a request may name, on every transport: see docs/protocol.md. */

/** The most bytes that a message may have. */
export const MESSAGE_BYTES_MAX = 16 * 1024;

/**
 * The id of a post. Without its first and last character the pattern can stand in other patterns. `.` and `..` are excluded because
 * clients and balancers remove them from paths.
 */
export const POST_PATTERN = /^(?!\.\.?(?![A-Za-z0-9_.:-]))[A-Za-z0-9_.:-]{1,64}$/;

export const POST_RULE = 'a string of 1 to 64 characters out of A-Z a-z 0-9 _ . : -, other than . and ..';

export function isPostId(id: string): boolean {
  return POST_PATTERN.test(id);
}

/** Characters of an actor's name. */
export const ACTOR_MAX = 128;

export const WELL_FORMED_RULE = 'must be well-formed Unicode, without half a surrogate pair';

/** Characters of an Idempotency-Key. */
export const KEY_MIN = 8;
export const KEY_MAX = 64;

/** The most that one `add` may add. */
export const BY_MAX = 1000;

/** Events and bytes of one request that is answered before their outcome. */
export const EVENTS_MAX = 500;
export const EVENT_BYTES_MAX = 256 * 1024;

import { fmix32, fnv1a } from '../common/hash.js';
import type { Key64 } from '../counters/ids.js';
import type { EntryDelta, PostDelta } from '../counters/replication/delta.js';

/** Subsets of a bucket's posts that are compared by one number each. */
export const LEAVES = 16;

/** Uses other bits of the post's hash than those that choose its bucket. */
export function leafFor(post: string): number {
  return (fmix32(fnv1a(post)) >>> 24) % LEAVES;
}

/**
 * Digest of a post's replicated state: the entries of all regions and the actors that have each toggle on. It is equal in regions that have
 * merged the same deltas. Two different states have equal digests once in 2^32 cases, until the next change.
 */
export function digestPost({ post, entries, registers, members }: PostDelta): number {
  let sum = 0;
  for (const entry of entries)
    if (entry.p > 0 || entry.n > 0) sum = (sum + fmix32(fnv1a(digestInput(post, entry)))) | 0;
  for (const { metric, actor, on } of registers) if (on) sum = (sum + hashMember(hashToggle(post, metric), actor)) | 0;
  for (const { metric, actors } of members) {
    const toggle = hashToggle(post, metric);
    for (const actor of actors) sum = (sum + hashMember(toggle, actor)) | 0;
  }
  return sum >>> 0;
}

function digestInput(post: string, { metric, incarnation, p, n }: EntryDelta): string {
  return `${post} ${metric} ${incarnation.region} ${incarnation.epoch} ${incarnation.nonce} ${p} ${n}`;
}

function hashToggle(post: string, metric: number): number {
  return fmix32(fnv1a(`${post} ${metric}`));
}

function hashMember(toggle: number, { hi, lo }: Key64): number {
  return fmix32(fmix32(toggle ^ hi) ^ lo);
}

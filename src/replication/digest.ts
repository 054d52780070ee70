import { fmix32, fnv1a } from '../common/hash.js';
import type { EntryDelta, PostDelta } from '../counters/replication/delta.js';
import type { Key64 } from '../counters/ids.js';

/** Parts of a bucket's posts that are compared by one number each. */
export const LEAVES = 16;

/** In which leaf a post is: by other bits of its hash than those that chose its bucket. */
export function leafFor(post: string): number {
  return (fmix32(fnv1a(post)) >>> 24) % LEAVES;
}

/**
 * What a post is, whoever is asked: entries of all regions, and who has which toggle on. The same number in every region that
 * has merged the same; of two that differ one in 2^32 is the same nevertheless, until the next change.
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

function digestInput(post: string, { metric, incarnation: replica, p, n }: EntryDelta): string {
  return `${post} ${metric} ${replica.region} ${replica.epoch} ${replica.nonce} ${p} ${n}`;
}

function hashToggle(post: string, metric: number): number {
  return fmix32(fnv1a(`${post} ${metric}`));
}

function hashMember(toggle: number, { hi, lo }: Key64): number {
  return fmix32(fmix32(toggle ^ hi) ^ lo);
}

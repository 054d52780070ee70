import { fmix32, fnv1a } from '../common/hash.js';
import type { EntryShipment, PostShipment } from '../counters/replication/delta.js';
import type { Key64 } from '../counters/ids.js';

/** Parts of a bucket's posts that are compared by one number each. */
export const LEAVES = 16;

/** In which leaf a post is: by other bits of its hash than those that chose its bucket. */
export function leafOf(post: string): number {
  return (fmix32(fnv1a(post)) >>> 24) % LEAVES;
}

/**
 * What a post is, whoever is asked: entries of all regions, and who has which toggle on. The same number in every region that
 * has merged the same; of two that differ one in 2^32 is the same nevertheless, until the next change.
 */
export function digestOf({ post, entries, registers, members }: PostShipment): number {
  let sum = 0;
  for (const entry of entries) if (entry.p > 0 || entry.n > 0) sum = (sum + fmix32(fnv1a(textOf(post, entry)))) | 0;
  for (const { metric, actor, on } of registers) if (on) sum = (sum + memberHash(toggleHash(post, metric), actor)) | 0;
  for (const { metric, actors } of members) {
    const toggle = toggleHash(post, metric);
    for (const actor of actors) sum = (sum + memberHash(toggle, actor)) | 0;
  }
  return sum >>> 0;
}

function textOf(post: string, { metric, replica, p, n }: EntryShipment): string {
  return `${post} ${metric} ${replica.region} ${replica.epoch} ${replica.nonce} ${p} ${n}`;
}

function toggleHash(post: string, metric: number): number {
  return fmix32(fnv1a(`${post} ${metric}`));
}

function memberHash(toggle: number, { hi, lo }: Key64): number {
  return fmix32(fmix32(toggle ^ hi) ^ lo);
}

import { fmix32, fnv1a } from '../common/hash.js';

/** The bucket of a post, 0 to `buckets` - 1. Fixed for the lifetime of the data. */
export function bucketOf(post: string, buckets: number): number {
  return fmix32(fnv1a(post)) % buckets;
}

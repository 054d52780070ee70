import { fmix32, fnv1a } from '../../common/hash.js';
import type { Key64 } from '../ids.js';

/** The key of the mark of a session's operations that were forwarded to a region. */
export function toForwardKey({ hi, lo }: Key64, region: string): Key64 {
  return { hi: (hi ^ fmix32(fnv1a(region, 1))) >>> 0, lo: (lo ^ fmix32(fnv1a(region, 2))) >>> 0 };
}

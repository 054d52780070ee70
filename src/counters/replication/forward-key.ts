import { fmix32, fnv1a } from '../../common/hash.js';
import type { Key64 } from '../ids.js';

/**
 * The key of the mark of a session's operations that were forwarded to a region.
 * @param isOnward whether they came from another region: this one may have sent others of the session to the region that sent these, so
 * marks of both kinds in one would send them back
 */
export function toForwardKey({ hi, lo }: Key64, region: string, isOnward: boolean): Key64 {
  const name = isOnward ? `>${region}` : region;
  return { hi: (hi ^ fmix32(fnv1a(name, 1))) >>> 0, lo: (lo ^ fmix32(fnv1a(name, 2))) >>> 0 };
}

import { digest64 } from '../common/digest64.js';
import type { Key64 } from './ids.js';

/** The key of the mark of an actor's visits to a post: a digest, so that nobody can choose an actor whose marks are those of another. */
export function toVisitKey(post: string, metric: number, { hi, lo }: Key64): Key64 {
  return digest64(`${metric} ${hi} ${lo} ${post}`);
}

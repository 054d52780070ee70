import { hash } from 'node:crypto';
import type { Key64 } from './ids.js';

/**
 * The key of the mark of an actor's visits to a post: the first 64 bits of a SHA-256, so that nobody can choose an actor whose marks are
 * those of another. Cost: about 1 µs.
 */
export function toVisitKey(post: string, metric: number, { hi, lo }: Key64): Key64 {
  const digest = hash('sha256', `${metric} ${hi} ${lo} ${post}`, 'buffer');
  return { hi: digest.readUInt32BE(0), lo: digest.readUInt32BE(4) };
}

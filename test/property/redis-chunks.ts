/** How the chunks of a bucket are found and filled, computed independently of the store. */

/** Redis packs hashes and sets of integers up to these sizes. No chunk may have more in the mean. */
const HASH_PACKED = 128;
export const SET_PACKED = 512;
/** Chunks of posts and marks with fewer entries in the mean would waste what packing saves. */
const HASH_LEAST = 32;

/** Linear hashing, as in its paper: the chunks before the split pointer are addressed by one bit more. */
export function chunkOf(hash: number, chunks: number): number {
  const size = 2 ** Math.floor(Math.log2(chunks));
  const split = chunks - size;
  return hash % size < split ? hash % (2 * size) : hash % size;
}

/** Computed with big integers, independently of the store. */
export function hashOfPost(post: string): number {
  const step = (hash: bigint, more: number): bigint => (hash * 1_664_525n + BigInt(more)) % 2n ** 32n;
  const hash = Buffer.from(post).reduce(step, 0n);
  return Number(step(hash, 0) / 4_096n);
}

export function hashOfKey(key: string): number {
  return Math.floor(((Math.abs(Number(key.slice(-9))) * 1664525) % 4294967296) / 4096);
}

/** Whether the number of chunks fits that of their entries. */
export function isFair(entries: number, chunks: number): boolean {
  return chunks >= entries / HASH_PACKED && chunks <= 1 + entries / HASH_LEAST;
}

import type { RecordCache } from './record-cache.js';

/** A group commit removes this many chunks of expired marks in any case; few, so that expiry never makes one long. */
const PURGE_CHUNKS = 16;
/** A group commit removes a further chunk for this many of its operations, a quarter of the marks in a chunk. */
const PURGE_OPERATIONS = 16;

/** Removes expired marks of sessions and visits faster than operations can leave new ones, a few with each group commit. */
export class MarkPurge {
  /** Buckets that may have expired marks. After a start these are all. */
  readonly #buckets: Set<number>;
  #operations = 0;

  constructor(buckets: number) {
    this.#buckets = new Set(Array.from({ length: buckets }, (_, bucket) => bucket));
  }

  /** A bucket has begun another generation of marks. */
  addBucket(bucket: number): void {
    this.#buckets.add(bucket);
  }

  countOperations(operations: number): void {
    this.#operations += operations;
  }

  purge(records: RecordCache): void {
    let left = PURGE_CHUNKS + Math.ceil(this.#operations / PURGE_OPERATIONS);
    this.#operations = 0;
    for (const bucket of this.#buckets) {
      left -= purgeBucket(records, bucket, left);
      if (left === 0) return;
      this.#buckets.delete(bucket);
    }
  }
}

function purgeBucket(records: RecordCache, bucket: number, limit: number): number {
  try {
    return records.openBucket(bucket).purgeMarks(limit);
  } catch {
    // The bucket's own value is damaged. That fails the batches of this bucket, but not those that are committed now.
    return 0;
  }
}

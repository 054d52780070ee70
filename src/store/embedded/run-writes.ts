import type { RecordCache } from './record-cache.js';

/** Changes records within a group commit, and settles when these are durable. */
export interface QueuedWrite {
  readonly run: (records: RecordCache) => unknown;
  readonly resolve: (result: unknown) => void;
  readonly reject: (error: unknown) => void;
}

/**
 * Runs the writes of one group commit. One that fails, because a value that it needs is damaged, is rejected alone: the changes so
 * far are dropped, and the other writes run again without it.
 *
 * Cost: each write runs once, and once more for each one that fails.
 * @param begin returns the records; `isRetry`: as they are on disk, because a write has failed halfway
 * @param onError called with each error
 */
export function runWrites(
  group: readonly QueuedWrite[],
  begin: (isRetry: boolean) => RecordCache,
  onError: (error: unknown) => void,
): ReadonlyMap<QueuedWrite, unknown> {
  for (let left = group; ;) {
    const results = new Map<QueuedWrite, unknown>();
    const failed = runUntilOneFails(left, begin(left !== group), results, onError);
    if (failed === null) return results;
    left = left.filter((write) => write !== failed);
  }
}

function runUntilOneFails(
  group: readonly QueuedWrite[],
  records: RecordCache,
  results: Map<QueuedWrite, unknown>,
  onError: (error: unknown) => void,
): QueuedWrite | null {
  for (const write of group) {
    try {
      results.set(write, write.run(records));
    } catch (error) {
      onError(error);
      write.reject(error);
      return write;
    }
  }
  return null;
}

import type { RecordCache } from './record-cache.js';

/** Something that changes records, and is done when they are synced. */
export interface QueuedWrite {
  readonly run: (records: RecordCache) => unknown;
  readonly resolve: (result: unknown) => void;
  readonly reject: (error: unknown) => void;
}

/**
 * Makes the changes of one group commit. One that fails, because a value that it needs is damaged, is rejected alone: what
 * was changed so far is dropped, and the others are made again without it.
 *
 * Cost: as many rounds as there are changes that fail, and one.
 * @param begin gives the records; `again`: as they are on disk, for a change has failed halfway
 * @param failed is told of each error
 */
export function runWrites(
  group: readonly QueuedWrite[],
  begin: (again: boolean) => RecordCache,
  failed: (error: unknown) => void,
): ReadonlyMap<QueuedWrite, unknown> {
  for (let left = group; ;) {
    const results = new Map<QueuedWrite, unknown>();
    const wrong = makeUntilOneFails(left, begin(left !== group), results, failed);
    if (wrong === null) return results;
    left = left.filter((one) => one !== wrong);
  }
}

function makeUntilOneFails(
  group: readonly QueuedWrite[],
  records: RecordCache,
  results: Map<QueuedWrite, unknown>,
  failed: (error: unknown) => void,
): QueuedWrite | null {
  for (const one of group) {
    try {
      results.set(one, one.run(records));
    } catch (error) {
      failed(error);
      one.reject(error);
      return one;
    }
  }
  return null;
}

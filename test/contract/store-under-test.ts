import type { Batch, CommitResult } from '../../src/counters/batch.js';
import type { Key64 } from '../../src/counters/ids.js';
import type { StoreBehindLog } from '../../src/store/store-behind-log.js';
import type { CounterStore, PostView } from '../../src/store/counter-store.js';

/** The store of the current test. */
export interface StoreUnderTest {
  readonly store: StoreBehindLog;
  reopen(): Promise<StoreBehindLog>;
  /** Commits the next batch of the test's producer, which has to be applied. */
  apply(operations: Batch['operations'], bucket?: number, atMs?: number): Promise<Applied>;
  /** Whether a failover may lose its last commits, so that records of milestones are not final at once. */
  readonly losesCommits: boolean;
  /** Makes the records of milestones so old that they are final. */
  makeFinal(): Promise<void>;
  view(post: string, actor?: Key64 | null): Promise<PostView>;
}

export type Applied = Extract<CommitResult, { kind: 'applied' }>;

export async function applied(store: CounterStore, batch: Batch): Promise<Applied> {
  const result = await store.commit(batch);
  if (result.kind !== 'applied') throw new Error(`batch ${batch.batchNumber} got ${result.kind}`);
  return result;
}

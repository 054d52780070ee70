import type { Batch } from '../../counters/batch.js';
import type { Metrics } from '../../counters/metrics.js';
import { BatchEncoder } from './codec/batch-encoder.js';
import type { CommitReply } from './codec/reply-decoder.js';
import { type ScriptCall, CallCoalescer } from './scripts/call-coalescer.js';

/**
 * Operations of one call, unless a single batch has more: some 20 batches of even traffic, which share the cost of a call
 * on both sides, and about a millisecond of the server's time.
 */
const CALL_OPERATIONS_MAX = 250;

/** Commits the batches of one turn by one call, where one server has all buckets. */
export class BatchCommitter {
  readonly #encoder: BatchEncoder;
  readonly #calls: CallCoalescer;

  /** @param together  whether one call may commit batches of several buckets */
  constructor(
    metrics: Metrics,
    together: boolean,
    call: (batches: readonly ScriptCall[]) => Promise<readonly Buffer[]>,
  ) {
    this.#encoder = new BatchEncoder(metrics);
    this.#calls = new CallCoalescer(together, CALL_OPERATIONS_MAX, call);
  }

  /** Rejects when the outcome is unknown, or when the script has rejected the batch and changed nothing. */
  async commit(batch: Batch): Promise<CommitReply> {
    const { posts, packed } = this.#encoder.encode(batch);
    return { posts, packed: await this.#calls.enqueue(batch.bucket, packed, batch.operations.length) };
  }
}

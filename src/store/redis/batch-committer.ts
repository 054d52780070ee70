import type { Batch } from '../../counters/batch.js';
import { BatchEncoder } from './codec/batch-encoder.js';
import type { CommitReply } from './codec/reply-decoder.js';
import { type ScriptCall, CallCoalescer } from './scripts/call-coalescer.js';

/**
 * Operations that one call carries at most, unless a single batch has more: some 20 batches of even traffic, which share
 * what a call costs on both sides, and about a millisecond of the server's time.
 */
const CALL_OPERATIONS_MAX = 250;

/** Batches that are committed in one turn leave together, where one server has all buckets. */
export class BatchCommitter {
  readonly #packer = new BatchEncoder();
  readonly #calls: CallCoalescer;

  /** @param together  whether one call may be about several buckets */
  constructor(together: boolean, call: (batches: readonly ScriptCall[]) => Promise<readonly Buffer[]>) {
    this.#calls = new CallCoalescer(together, CALL_OPERATIONS_MAX, call);
  }

  /** Rejects when the outcome is not known, or when the script has refused the batch and changed nothing. */
  async commit(batch: Batch): Promise<CommitReply> {
    const { posts, packed } = this.#packer.encode(batch);
    return { posts, packed: await this.#calls.enqueue(batch.bucket, packed, batch.operations.length) };
  }
}

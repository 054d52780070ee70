import type { Batch } from '../../counters/batch.js';
import type { Metrics } from '../../counters/metrics.js';
import { BatchEncoder } from './codec/batch-encoder.js';
import { COMMIT_REPLIES, type CommitReply } from './codec/reply-decoder.js';
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

  /**
   * A batch with an operation that reaches a milestone is sent twice: most need no names of those whose operations they are.
   * Rejects when the outcome is unknown, or when the script has rejected the batch and changed nothing.
   */
  async commit(batch: Batch): Promise<CommitReply> {
    const { posts, packed } = this.#encoder.encode(batch);
    const reply = await this.#send(batch, packed);
    if (reply[0] !== COMMIT_REPLIES.UNNAMED) return { posts, packed: reply };
    return { posts, packed: await this.#send(batch, this.#encoder.encode(batch, true).packed) };
  }

  #send({ bucket, operations }: Batch, packed: Buffer): Promise<Buffer> {
    return this.#calls.enqueue(bucket, packed, operations.length);
  }
}

import type { Batch } from '../../counters/batch.js';
import { BatchPacker } from './batch-packer.js';

/**
 * Operations that one call carries at most, unless a single batch has more: some 20 batches of even traffic, which share
 * what a call costs on both sides, and about a millisecond of the server's time.
 */
const CALL_OPERATIONS_MAX = 250;

/** First byte of an answer that says what was wrong. */
const REFUSED = 45;

/** A batch on its way. */
export interface PackedBatch {
  readonly bucket: number;
  readonly packed: Buffer;
}

/** Sends batches of different buckets by one call. @returns the answer to each, in their order */
type Call = (batches: readonly PackedBatch[]) => Promise<readonly Buffer[]>;

interface Waiting extends PackedBatch {
  readonly posts: readonly string[];
  readonly answered: (answer: Answer) => void;
  readonly failed: (error: Error) => void;
}

export interface Answer {
  /** The batch's posts, each once, in the order of the answer. */
  readonly posts: readonly string[];
  readonly packed: Buffer;
}

/** Batches that are committed in one turn leave together, where one server has all buckets. */
export class CommitCalls {
  readonly #packer = new BatchPacker();
  #open: Waiting[] = [];
  #operations = 0;

  constructor(
    /** Whether one call may be about several buckets. */
    private readonly together: boolean,
    private readonly call: Call,
  ) {}

  /** Rejects when the outcome is not known, or when the script has refused the batch and changed nothing. */
  commit(batch: Batch): Promise<Answer> {
    const { length } = batch.operations;
    if (this.#operations + length > CALL_OPERATIONS_MAX) this.#send();
    const { posts, packed } = this.#packer.pack(batch);
    return new Promise((answered, failed) => {
      // What waits leaves after this turn; whatever is committed until then joins it.
      if (this.#open.length === 0) process.nextTick(() => this.#send());
      this.#open.push({ bucket: batch.bucket, packed, posts, answered, failed });
      this.#operations += length;
      if (!this.together) this.#send();
    });
  }

  #send(): void {
    const batches = this.#open;
    if (batches.length === 0) return;
    this.#open = [];
    this.#operations = 0;
    this.call(batches).then(
      (answers) => {
        for (const [i, batch] of batches.entries()) settle(batch, answers[i]!);
      },
      (error: unknown) => {
        for (const batch of batches) batch.failed(error as Error);
      },
    );
  }
}

function settle({ posts, answered, failed }: Waiting, packed: Buffer): void {
  if (packed[0] === REFUSED) failed(new Error(packed.toString('utf8', 1)));
  else answered({ posts, packed });
}

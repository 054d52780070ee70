import type { Operation } from './operation.js';

/**
 * Operations of one bucket, committed together or not at all. A producer (a gateway process, per bucket) numbers its batches 1, 2, 3 …, one in
 * flight at a time; a store applies a number once: the idempotent producer of Kafka (KIP-98), see ProducerState.
 *
 * A log of events is a producer, too. Its numbers are offsets, and have gaps. So its batches say after which number they continue.
 */
export interface Batch {
  readonly bucket: number;
  /** 64 random bits, or the name of a log. */
  readonly producerId: string;
  /** With `afterInLog`: the bucket's position in the log after the batch. */
  readonly batchNumber: number;
  /**
   * Only if the producer is a log: the batch has all operations of the bucket after this position, up to `batchNumber`. It is applied
   * if this is the bucket's position. A position is kept for good, and without outcomes: a batch that is sent again is stale.
   */
  readonly afterInLog?: number;
  /** Only if the producer is a log: whether an operation adds up several events, of which none is known any more. */
  readonly hasSums?: boolean;
  /** Whether it was committed before, and the store may have lost it: what was counted here is counted here again, even if another region decides now. */
  readonly isReplay?: boolean;
  /** Wall time at the gateway, ms since 1970. */
  readonly atMs: number;
  readonly operations: readonly Operation[];
}

/** A producer's last batch in a bucket, and its outcomes, for when that batch is sent again. */
export interface ProducerState {
  readonly batchNumber: number;
  /** A byte of outcome bits for each operation of that batch. */
  readonly outcomes: Uint8Array;
}

/** The absolute counts of a post at one version: as they are published, read and acknowledged. */
export interface PostCounts {
  readonly post: string;
  /** The epoch as clients see it. */
  readonly e: string;
  /** 0: nothing was ever counted. */
  readonly v: number;
  /** Wall time of the last change, ms since 1970; `null` for an unknown post. */
  readonly updatedAtMs: number | null;
  /** By metric index, integers from 0 to 2^53 - 1. */
  readonly totals: readonly number[];
  /** Viewers on all gateways that share the store, as far as these have reported them; 0 where they do not. */
  readonly live: number;
}

export type CommitResult =
  | {
      readonly kind: 'applied';
      /** Outcome bits, one byte an operation. */
      readonly outcomes: Uint8Array;
      /** The counts, after the batch, of every post that it names. */
      readonly counts: ReadonlyMap<string, PostCounts>;
      /** The counts of posts that the batch changed. Empty when the batch was applied before. */
      readonly changed: readonly PostCounts[];
    }
  /** `gap`: batches between `last` and this one are missing. `stale`: a later batch was applied before. */
  | { readonly kind: 'gap' | 'stale'; readonly last: number }
  /** A sum might reach a milestone, and nobody could be named: the batch is to be sent with single events. Nothing was applied. */
  | { readonly kind: 'unsum'; readonly last: number }
  /** A replay might reach a milestone, and this region does not know yet whether it may decide: later it may. Nothing was applied. */
  | { readonly kind: 'undecided'; readonly last: number };

import type { Operation } from './operation.js';

/**
 * Operations of one bucket, committed together or not at all. A gateway life (incarnation) numbers its batches of a
 * bucket 1, 2, 3 …, one in flight at a time; a store applies a number once (see Fence).
 */
export interface Batch {
  readonly bucket: number;
  /** 64 random bits of this gateway life. */
  readonly producerId: string;
  readonly batchNumber: number;
  /** Wall time at the gateway, ms since 1970. */
  readonly atMs: number;
  readonly operations: readonly Operation[];
}

/** What a bucket remembers of an incarnation: its last batch, and what to answer when that one is sent again. */
export interface ProducerState {
  readonly batchNumber: number;
  /** A byte of outcome bits for each operation of batch `batchNumber`. */
  readonly outcomes: Uint8Array;
}

/** The absolute counts of a post at one version: what is announced, read and answered. */
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
  /** Viewers on all gateways that share the store, as far as it was told; 0 where it is not. */
  readonly live: number;
}

export type CommitResult =
  | {
      readonly kind: 'applied';
      /** Outcome bits, one byte an operation. */
      readonly outcomes: Uint8Array;
      /** The counts after the batch of every post that it names. */
      readonly counts: ReadonlyMap<string, PostCounts>;
      /** Those of them that the batch changed. Empty when an already applied batch was sent again. */
      readonly changed: readonly PostCounts[];
    }
  /** `gap`: batches between `last` and this one are missing. `stale`: a later one was applied already. */
  | { readonly kind: 'gap' | 'stale'; readonly last: number };

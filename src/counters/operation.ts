import type { Key64 } from './ids.js';

/** This much of `value` costs a token: an `add` of 1,000, the most, costs 50, which is the burst of a connection. */
const VALUE_PER_TOKEN = 20;

/** A change of one metric of one post. The edge has checked that it fits the kind of its metric. */
export interface Operation {
  readonly post: string;
  /** Index of the metric. */
  readonly metric: number;
  /**
   * `add`: a tally grows by `value`.
   * `set`: the actor's toggle becomes on (`value` 1) or off (0).
   * `adjust`: a toggle's anonymous count changes by `value`, 1 or -1; a region takes away only what it has added.
   */
  readonly kind: 'add' | 'set' | 'adjust';
  readonly value: number;
  /** `null` only where `kind` needs no actor. */
  readonly actor: Key64 | null;
  /** A repetition with the same session and `seq` has no effect; `null` and 0 without a session. */
  readonly session: Key64 | null;
  readonly seq: number;
}

/** Outcome bits of an operation: a byte in the result of its batch and in the producer's state. */
export const APPLIED = 1;
export const DUPLICATE = 2;
export const ON = 4;

/** Tokens that an operation takes from the token buckets of its connection and its address: 1 to 50. */
export function computeTokenCost(value: number): number {
  return value <= VALUE_PER_TOKEN ? 1 : Math.ceil(value / VALUE_PER_TOKEN);
}

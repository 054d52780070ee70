import type { Key64 } from './ids.js';

/** This much of `value` costs as much of a rate as a whole operation: an `add` of BY_MAX as 50, the burst of a connection. */
const VALUE_A_TOKEN = 20;

/** What is asked of one metric of one post. Checked at the edge: whatever arrives here fits its metric's kind. */
export interface Operation {
  readonly post: string;
  /** Index of the metric. */
  readonly metric: number;
  /**
   * `add`: a tally grows by `value`, 1 to BY_MAX.
   * `set`: the actor's toggle is put on (`value` 1) or off (0).
   * `adjust`: a toggle's plain part, which belongs to no actor, moves by `value`, 1 or -1: a region takes away only what it has added.
   */
  readonly kind: 'add' | 'set' | 'adjust';
  readonly value: number;
  /** Who acts; `null` only where the kind needs nobody. */
  readonly actor: Key64 | null;
  /** With a session and its `seq` a repetition takes effect once; `null` and 0 without. */
  readonly session: Key64 | null;
  readonly seq: number;
}

/** What became of an operation, as bits: one byte each in an answer, and in the fence. */
export const APPLIED = 1;
export const DUPLICATE = 2;
export const ON = 4;

/** Tokens that an operation costs, of the rates of its connection and of its address: 1 to 50. */
export function computeTokenCost(value: number): number {
  return value <= VALUE_A_TOKEN ? 1 : Math.ceil(value / VALUE_A_TOKEN);
}

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
   * `visit`: a tally grows by 1 if the actor's last counted visit is a window ago.
   */
  readonly kind: 'add' | 'set' | 'adjust' | 'visit';
  readonly value: number;
  /** `null` only where `kind` needs no actor. */
  readonly actor: Key64 | null;
  /** A repetition with the same session and `seq` has no effect; `null` and 0 without a session. */
  readonly session: Key64 | null;
  readonly seq: number;
  /** Only of an operation that another region has forwarded: it is not forwarded back. */
  readonly isForwarded?: true;
  /** Regions that have forwarded it: 1 to HOPS_MAX, 1 if it is left out. Only with `isForwarded`. */
  readonly hops?: number;
  /** Only of a visit: when it was accepted, seconds since 1970. */
  readonly atS?: number;
}

/** Outcome bits of an operation: a byte in the result of its batch and in the producer's state. */
export const APPLIED = 1;
export const DUPLICATE = 2;
export const ON = 4;
/** The actor's other option of the group was put off. The upper three bits are its index among the other options, … */
export const SWITCHED = 8;
/** It is the operation with which the total first reached a milestone: see milestones.ts. */
export const REACHED = 16;
/** Nothing was done: another region decides about the metric, or this one waits for others. No other outcome is applied and a duplicate. */
export const ELSEWHERE = APPLIED | DUPLICATE;
export const SWITCHED_FROM_BIT = 5;
/** … or this, if several were: an actor may have those of when the metrics were no choices yet. OPTIONS_MAX leaves it free. */
export const SWITCHED_FROM_SEVERAL = 7;

/** @param otherOptions of the metric that was put on; @param putOff those of them that it has put off */
export function buildSwitched(otherOptions: readonly number[], putOff: readonly number[]): number {
  const [from] = putOff;
  if (from === undefined) return 0;
  const option = putOff.length === 1 ? otherOptions.indexOf(from) : SWITCHED_FROM_SEVERAL;
  return SWITCHED | (option << SWITCHED_FROM_BIT);
}

/** @returns the metrics that the operation has put off besides its own, or may have: all other options, if it were several */
export function readSwitched(outcome: number, otherOptions: readonly number[]): readonly number[] {
  if ((outcome & SWITCHED) === 0) return NOTHING;
  const from = otherOptions[outcome >> SWITCHED_FROM_BIT];
  return from === undefined ? otherOptions : [from];
}

const NOTHING: readonly number[] = [];

/** Tokens that an operation takes from the token buckets of its connection and its address: 1 to 50. */
export function computeTokenCost(value: number): number {
  return value <= VALUE_PER_TOKEN ? 1 : Math.ceil(value / VALUE_PER_TOKEN);
}

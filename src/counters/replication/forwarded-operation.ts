import type { Key64 } from '../ids.js';
import type { Operation } from '../operation.js';

/** The region that a client talks to, and one more if the home has changed meanwhile. */
export const HOPS_MAX = 2;

/** An operation on its way to the region that decides about the milestones of its metric. */
export interface ForwardedOperation extends Operation {
  readonly session: Key64;
  readonly isForwarded: true;
  /** Regions that have forwarded it: 1 to HOPS_MAX. */
  readonly hops: number;
}

/** Bounds the body of a call, and the time that a region needs for it. */
export const OPERATIONS_PER_CALL_MAX = 250;

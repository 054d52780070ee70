import type { Operation } from '../counters/operation.js';

/** The region that a client talks to, and one more if the home has changed meanwhile. */
export const HOPS_MAX = 2;

/** An operation on its way to the region that decides about the milestones of its metric. */
export interface ForwardedOperation extends Operation {
  readonly isForwarded: true;
  /** Regions that have forwarded it: 1 to HOPS_MAX. */
  readonly hops: number;
}

/** Has other regions do operations whose outcome was ELSEWHERE. */
export interface Forwarding {
  /** @returns the region that has to do each of them; `null`: it has to wait here. Rejects if the store fails. */
  forwardTo(operations: readonly Operation[]): Promise<readonly (string | null)[]>;
  /**
   * Operations of one session are done in this order. May be repeated.
   * @param operations at most OPERATIONS_PER_CALL_MAX
   * @returns their outcomes; ELSEWHERE: the region did not do it, either. Rejects if the region does not answer: then they are unknown.
   */
  forward(region: string, operations: readonly ForwardedOperation[]): Promise<readonly number[]>;
  /** @returns the regions without whose confirmation the metric is not counted here; none, if it is unknown. Does not reject. */
  waitingFor(operation: Operation): Promise<readonly string[]>;
}

/** Bounds the body of a call, and the time that a region needs for it. */
export const OPERATIONS_PER_CALL_MAX = 250;

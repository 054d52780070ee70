import type { Operation } from '../counters/operation.js';
import type { ForwardedOperation } from '../counters/replication/forwarded-operation.js';

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

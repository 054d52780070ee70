import type { Operation } from '../counters/operation.js';
import type { ForwardedOperation } from '../counters/replication/forwarded-operation.js';

/** Why an operation that is not counted here is not forwarded, either. */
export interface WaitReason {
  /** Those that it waits for, by name; none, if they are unknown. */
  readonly regions: readonly string[];
  /** `removed`: the region that has to do it is not in PEERS any more. */
  readonly cause: 'unconfirmed' | 'removed';
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
  /** @returns why an operation for which `forwardTo` returned `null` waits. Does not reject. */
  findWaitReason(operation: Operation): Promise<WaitReason>;
}

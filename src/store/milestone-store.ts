import type { Observable } from 'rxjs';
import type { ArmOptions, ArmResult, MilestoneHome, ReachedMilestone } from '../counters/milestones.js';
import type { Operation } from '../counters/operation.js';

/** A milestone that was reached, as it is read. */
export interface ReadMilestone extends ReachedMilestone {
  /** Whether no failover of the store can lose it any more. */
  readonly final: boolean;
}

/** The milestones of one metric of a post, each in the order of `n`. */
export interface MilestonesView {
  readonly armed: readonly number[];
  readonly reached: readonly ReadMilestone[];
  /** The region that decides, or did last, as far as it is known here; `null`: there never was one. */
  readonly home: MilestoneHome | null;
  /** Only where this region decides: the regions that have not confirmed it yet, by name. Until then nothing is decided. */
  readonly waitingFor: readonly string[];
}

/** A milestone of a watched post that was just reached. */
export interface MilestoneNews {
  readonly post: string;
  /** Index of the metric. */
  readonly metric: number;
  readonly n: number;
  /** The version of the post's counts that include it. */
  readonly v: number;
  /** ms since 1970 */
  readonly atMs: number;
}

/**
 * The port of a store to milestones: who is the first with whom a total reaches a number. The commit that reaches it writes the record,
 * so no two gateways disagree. What is armed or disarmed here is durable when the call resolves.
 */
export interface MilestoneStore {
  /** @param metric index of the metric; @param options with other regions, which make this one the home */
  arm(post: string, metric: number, n: number, options?: ArmOptions): Promise<ArmResult>;

  /** @returns whether it was armed */
  disarm(post: string, metric: number, n: number): Promise<boolean>;

  /** After every commit that has resolved. */
  read(post: string, metric: number): Promise<MilestonesView>;

  /**
   * Which region has to do operations whose outcome was ELSEWHERE, in their order; `null`: the operation has to wait here. Reads only,
   * after every commit that has resolved.
   */
  forwardTo(operations: readonly Operation[]): Promise<readonly (string | null)[]>;

  /** Milestones of watched posts, whichever gateway's commit reached them. Some may be lost: `read` has all. */
  readonly reached: Observable<readonly MilestoneNews[]>;
}

import type { PostCounts } from '../counters/batch.js';
import type { Operation } from '../counters/operation.js';
import type { ErrorBody } from '../protocol/errors.js';

/** An operation whose client learns only that it is kept, neither its outcome nor the counts after it. */
export interface AcceptedEvent extends Operation {
  /** Whether the actor may have connections, which show that a toggle has changed. */
  readonly notifiesActor: boolean;
  /**
   * Called once with the counts of its post, if the event is kept: after the commit, by an intake that commits before it resolves; else
   * with those of before, and outcome 0. May not throw.
   */
  readonly onCounts: ((outcome: number, counts: PostCounts) => void) | null;
}

/** Takes the events of one request, which are counted in this order for each post. */
export interface EventIntake {
  /**
   * Resolves when the outcome of every event is known, in the order of the events: `null` for an event that is kept for good,
   * else the error of one that has no effect.
   * @throws ProtocolError for the request as a whole. OVERLOADED: no event has an effect. UNAVAILABLE: the outcome of some is
   * unknown, and a repetition with the same sessions counts each once.
   */
  accept(events: readonly AcceptedEvent[]): Promise<readonly (ErrorBody | null)[]>;
}

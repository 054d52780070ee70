import type { PostCounts } from '../counters/batch.js';
import type { Metrics } from '../counters/metrics.js';
import { APPLIED, ON, readSwitched } from '../counters/operation.js';
import type { RemoteToggle } from '../counters/replication/delta.js';
import type { LoggedEvent } from './log-entry.js';

/** Events of one bucket that were committed together. */
export interface CommittedEvents {
  readonly operations: readonly LoggedEvent[];
  /** A byte an operation. */
  readonly outcomes: Uint8Array;
  /** After the commit, of every post that it names. */
  readonly counts: ReadonlyMap<string, PostCounts>;
}

/** Changes of actors that may have connections: the toggles that were set, and the options that a choice has put off. */
export function listChangedToggles(
  operations: readonly LoggedEvent[],
  outcomes: Uint8Array,
  { otherOptions }: Metrics,
): readonly RemoteToggle[] {
  return operations.flatMap(({ post, metric, kind, actor, notifiesActor }, i): RemoteToggle[] => {
    const outcome = outcomes[i]!;
    if (kind !== 'set' || actor === null || !notifiesActor || (outcome & APPLIED) === 0) return [];
    const own = { post, metric, actor, on: (outcome & ON) !== 0 };
    const putOff = readSwitched(outcome, otherOptions[metric]!);
    return [own, ...putOff.map((other) => ({ post, metric: other, actor, on: false }))];
  });
}

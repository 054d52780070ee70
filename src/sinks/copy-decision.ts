import { type CopyPosition, type IncarnationStart, NOT_SYNCED } from '../counters/changed-posts.js';
import { compareIncarnations } from '../counters/pn-counter.js';
import type { ChangePage } from '../store/change-store.js';
import type { SinkPosition } from './sink.js';

/** A store that has lost more than this is taken for a backup: its copy is not overwritten. */
export const LOSS_MAX_MS = 60_000;

/**
 * How a copy goes on: with the changes after its position, with a full sync, or not at all, because it has what the store lacks and
 * somebody has to say which of the two is right.
 */
export type CopyDecision = 'changes' | 'full-sync' | 'halt';

type History = Pick<ChangePage, 'starts' | 'droppedUpTo'>;

/**
 * How a copy that keeps its own position goes on. A copy of an earlier incarnation goes on with changes if it was the bucket at one
 * instant, and the store has recovered that instant.
 */
export function decideCopy(position: SinkPosition | undefined, { starts, droppedUpTo }: History): CopyDecision {
  if (position === undefined) return 'full-sync';
  const index = starts.findIndex((start) => compareIncarnations(start, position) === 'same');
  if (index === -1) return 'halt';
  // The later ones started at the same seq or above.
  const next: IncarnationStart | undefined = starts[index + 1];
  if (next !== undefined && mayHaveMore(position, next)) {
    return position.changedAtMs - next.startMs > LOSS_MAX_MS ? 'halt' : 'full-sync';
  }
  const mayHaveLess = next !== undefined && !position.isComplete;
  return mayHaveLess || position.upTo < droppedUpTo ? 'full-sync' : 'changes';
}

/**
 * How a copy goes on whose position the store keeps. A position of an earlier incarnation was recovered with the counts and may be older than
 * the copy, so it does not say whether the store has all that the copy has. There is nothing to halt for: the position of a store that
 * was emptied is gone, too.
 */
export function decideStoredCopy(position: CopyPosition | undefined, { starts, droppedUpTo }: History): CopyDecision {
  if (position === undefined || position.upTo < droppedUpTo) return 'full-sync';
  return compareIncarnations(starts.at(-1)!, position) === 'same' ? 'changes' : 'full-sync';
}

/**
 * Whether a copy may have posts that the store did not recover. At the seq itself it may, because a post may have been entered under it after
 * the last write that was recovered. A full sync brings posts as they are, whatever their seq.
 */
function mayHaveMore({ upTo }: CopyPosition, { startSeq }: IncarnationStart): boolean {
  return upTo >= startSeq || upTo === NOT_SYNCED;
}

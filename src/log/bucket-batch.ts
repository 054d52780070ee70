import type { Metrics } from '../counters/metrics.js';
import type { LoggedEvent } from './log-entry.js';

/** The events of one bucket in one entry. */
export interface BucketEntry {
  readonly offset: number;
  readonly events: readonly LoggedEvent[];
}

/** The next operations of a bucket. */
export interface BucketBatch {
  readonly operations: readonly LoggedEvent[];
  /** All events of the bucket up to this offset are in it, or were in batches before. */
  readonly upTo: number;
  /** How many events it counts. */
  readonly events: number;
  /** Whether an operation adds up several events. */
  readonly hasSums: boolean;
}

/**
 * Builds a batch of the first entries, whole ones only, because a position is the offset of an entry.
 *
 * Additions to a tally are summed, unless they have a session: then the store has to find out whether each is a repetition. All else stays
 * single and in its order.
 * @param entries of one bucket in the order of their offsets, at least one
 * @param operationsMax one entry may have more
 * @param sums whether additions are summed. Without sums a batch has as many entries or fewer
 */
export function buildBatch(
  entries: readonly BucketEntry[],
  metrics: Metrics,
  operationsMax: number,
  sums = true,
): BucketBatch {
  const operations: LoggedEvent[] = [];
  const summed = new Map<string, LoggedEvent & { value: number }>();
  let hasSums = false;
  let upTo = 0;
  let count = 0;
  for (const { offset, events } of entries) {
    if (operations.length > 0 && operations.length + events.length > operationsMax) break;
    for (const event of events) {
      if (!sums || !isSummable(event, metrics)) {
        operations.push(event);
        continue;
      }
      const name = `${event.metric} ${event.post}`;
      const sum = summed.get(name);
      if (sum !== undefined) {
        sum.value += event.value;
        hasSums = true;
        continue;
      }
      const first = { ...event };
      summed.set(name, first);
      operations.push(first);
    }
    count += events.length;
    upTo = offset;
  }
  return { operations, upTo, events: count, hasSums };
}

function isSummable({ kind, metric, session }: LoggedEvent, metrics: Metrics): boolean {
  return kind === 'add' && session === null && !metrics.list[metric]!.kind.hasMembers;
}

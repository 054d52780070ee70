import { bucketOf } from '../counters/bucket-of.js';
import { groupBy } from '../common/grouping.js';
import type { Metrics } from '../counters/metrics.js';
import type { BucketEntry } from './bucket-batch.js';
import { type DeadLetter, LOG_PARTITIONS, type LogPage } from './event-log.js';
import { decodeEntry } from './log-entry.js';

/** Events that are decoded in one turn of the event loop: about a millisecond. */
const TURN_EVENTS = 500;

export interface DecodedPage {
  /** By bucket: its entries in the order of their offsets. */
  readonly entries: ReadonlyMap<number, readonly BucketEntry[]>;
  readonly letters: readonly DeadLetter[];
  /** When the first and the last event of the page were accepted; `null`: it has none. */
  readonly oldestAtMs: number | null;
  readonly newestAtMs: number | null;
}

export interface PageDecoding {
  readonly buckets: number;
  readonly metrics: Metrics;
  /** Lets other events have their turn. */
  readonly yieldTurn: () => Promise<void>;
}

export async function decodePage(
  { partition, entries }: LogPage,
  { buckets, metrics, yieldTurn }: PageDecoding,
): Promise<DecodedPage> {
  const byBucket = new Map<number, BucketEntry[]>();
  const letters: DeadLetter[] = [];
  const isExpected = (post: string): boolean => bucketOf(post, buckets) % LOG_PARTITIONS === partition;
  let oldestAtMs: number | null = null;
  let newestAtMs: number | null = null;
  let decoded = 0;
  for (const { offset, payload } of entries) {
    const { acceptedAtMs, events, dead } = decodeEntry(payload, metrics, isExpected);
    oldestAtMs ??= acceptedAtMs;
    newestAtMs = acceptedAtMs ?? newestAtMs;
    for (const [bucket, ofBucket] of groupBy(events, ({ post }) => bucketOf(post, buckets))) {
      const entry = { offset, events: ofBucket };
      const before = byBucket.get(bucket);
      if (before === undefined) byBucket.set(bucket, [entry]);
      else before.push(entry);
    }
    for (const { index, reason, event } of dead) letters.push({ partition, offset, index, reason, event });
    decoded += events.length + dead.length;
    if (decoded < TURN_EVENTS) continue;
    decoded = 0;
    await yieldTurn();
  }
  return { entries: byBucket, letters, oldestAtMs, newestAtMs };
}

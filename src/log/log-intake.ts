import type { ClosingFlag } from '../common/closing-flag.js';
import { groupBy, pages } from '../common/grouping.js';
import type { PostCounts } from '../counters/batch.js';
import { bucketOf } from '../counters/bucket-of.js';
import type { Metrics } from '../counters/metrics.js';
import type { AcceptedEvent, EventIntake } from '../ingest/event-intake.js';
import type { OperationCounts, OperationResult } from '../ingest/operation-counts.js';
import { CLOSING_ERROR, type ErrorBody, errorBody, ProtocolError } from '../protocol/errors.js';
import type { CounterStore, PostView } from '../store/counter-store.js';
import { type EventLog, type LogAppend, LogFullError, LOG_PARTITIONS } from './event-log.js';
import { encodeEntry, ENTRY_EVENTS_MAX } from './log-entry.js';

/** As many as operations that may wait in ingest: a log that stalls for seconds must not fill the memory. */
const WAITING_MAX = 50_000;
const READS_MAX = 256;
const RETRY_AFTER_MS = 1_000;
/** Every append may fail while the log is down or out of memory. */
const WARNINGS_EVERY_MS = 60_000;
const TOO_MANY_ERROR = errorBody('OVERLOADED', 'too many events are waiting; retry later', RETRY_AFTER_MS);
const FULL_ERROR = errorBody('OVERLOADED', 'the log of events is full; retry later', RETRY_AFTER_MS);
const UNKNOWN_ERROR = errorBody(
  'UNAVAILABLE',
  'the log of events did not answer in time; retry with the same seqs or keys',
);

export interface LogIntakeOptions {
  readonly buckets: number;
  readonly metrics: Metrics;
  /** Wall time of acceptance, ms since 1970. */
  readonly wallMs: () => number;
  readonly warn: (message: string) => void;
}

/** Keeps events by appending them to the log: they are counted later, also if the store is down now. */
export class LogIntake implements EventIntake {
  /** Reads of counts in flight: they go on after their requests were answered. */
  #reads = 0;
  /** Events that are on their way to the log. */
  #waiting = 0;
  #warnedAtMs = -Infinity;

  constructor(
    private readonly log: Pick<EventLog, 'append'>,
    private readonly store: Pick<CounterStore, 'read'>,
    private readonly counts: Pick<OperationCounts, 'add'>,
    private readonly lifecycle: ClosingFlag,
    private readonly options: LogIntakeOptions,
  ) {}

  async accept(events: readonly AcceptedEvent[]): Promise<readonly null[]> {
    if (this.lifecycle.isClosing) throw this.#reject(events, CLOSING_ERROR);
    if (this.#waiting + events.length > WAITING_MAX) throw this.#reject(events, TOO_MANY_ERROR);
    const appends = this.#toAppends(events);
    const counts = this.#readCounts(events);
    this.#waiting += events.length;
    try {
      if (appends.length > 0) await this.log.append(appends);
    } catch (error) {
      this.#reportFailure(error as Error);
      throw this.#reject(events, error instanceof LogFullError ? FULL_ERROR : UNKNOWN_ERROR);
    } finally {
      this.#waiting -= events.length;
    }
    this.#count(events, 'accepted');
    void counts.then((byPost) => reportCounts(events, byPost));
    return events.map(() => null);
  }

  #toAppends(events: readonly AcceptedEvent[]): LogAppend[] {
    const { buckets, metrics, wallMs } = this.options;
    const atMs = wallMs();
    const byPartition = groupBy(events, ({ post }) => bucketOf(post, buckets) % LOG_PARTITIONS);
    return [...byPartition].flatMap(([partition, group]) =>
      pages(group, ENTRY_EVENTS_MAX).map((page) => {
        return { partition, events: page.length, payload: encodeEntry(atMs, page, metrics) };
      }),
    );
  }

  /**
   * Reads the counts of the posts that need reporting. While the store is down they are those of unknown posts, which cost their address
   * more.
   */
  async #readCounts(events: readonly AcceptedEvent[]): Promise<ReadonlyMap<string, PostCounts>> {
    const posts = [...new Set(events.flatMap(({ post, onCounts }) => (onCounts === null ? [] : [post])))];
    if (posts.length === 0) return new Map();
    const views = await this.#read(posts).catch(() => posts.map((post) => ({ counts: toUnknown(post) })));
    return new Map(views.map(({ counts }) => [counts.post, counts]));
  }

  async #read(posts: readonly string[]): Promise<readonly Pick<PostView, 'counts'>[]> {
    if (this.#reads >= READS_MAX) throw new Error('the store does not keep up');
    this.#reads += 1;
    try {
      return await this.store.read(posts, null);
    } finally {
      this.#reads -= 1;
    }
  }

  #reportFailure({ message }: Error): void {
    const nowMs = this.options.wallMs();
    if (Math.abs(nowMs - this.#warnedAtMs) < WARNINGS_EVERY_MS) return;
    this.#warnedAtMs = nowMs;
    this.options.warn(`events were rejected, because they could not be appended to the log: ${message}`);
  }

  #reject(events: readonly AcceptedEvent[], { code, message, retryAfterMs }: ErrorBody): ProtocolError {
    this.#count(events, code);
    return new ProtocolError(code, message, retryAfterMs);
  }

  #count(events: readonly AcceptedEvent[], result: OperationResult): void {
    for (const { kind } of events) this.counts.add(kind, result);
  }
}

function reportCounts(events: readonly AcceptedEvent[], byPost: ReadonlyMap<string, PostCounts>): void {
  for (const { post, onCounts } of events) onCounts?.(0, byPost.get(post)!);
}

function toUnknown(post: string): PostCounts {
  return { post, e: '', v: 0, updatedAtMs: null, totals: [], live: 0 };
}

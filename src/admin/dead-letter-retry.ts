import { toRequestKey } from '../access/name-hashing.js';
import { type Clock, readSecond } from '../common/clock.js';
import { groupBy, pages } from '../common/grouping.js';
import { bucketOf } from '../counters/bucket-of.js';
import type { Metrics } from '../counters/metrics.js';
import { type DeadLetter, type EventLog, LOG_PARTITIONS, LogFullError } from '../log/event-log.js';
import { decodeEntry, decodeEvent, encodeEntry, ENTRY_EVENTS_MAX, type LoggedEvent } from '../log/log-entry.js';
import { ProtocolError } from '../protocol/errors.js';
import type { JobReport } from './job-runner.js';

/** More than the log keeps of a partition. */
const LETTERS_MAX = 100_000;
const RETRY_AFTER_MS = 1_000;

export interface DeadLetterRetryOptions {
  readonly buckets: number;
  readonly metrics: Metrics;
  readonly clock: Clock;
}

/** Letters of a page, as they can be read with the metrics of this gateway. */
interface ReadLetters {
  readonly events: LoggedEvent[];
  /** Letters of which nothing is left to count. */
  readonly done: DeadLetter[];
  /** Letters that cannot be counted, each with the reason of now. */
  readonly dead: DeadLetter[];
}

/**
 * Appends dead letters to the log again. Each event gets a key that is made of its offset, unless it has one: if a letter is appended and
 * not removed, the next retry within the hour counts nothing twice.
 */
export class DeadLetterRetry {
  constructor(
    private readonly log: EventLog,
    private readonly options: DeadLetterRetryOptions,
  ) {}

  /** @throws ProtocolError when the log takes no more; the letters that are left can be retried */
  async run(report: (line: JobReport) => Promise<void>, signal: AbortSignal): Promise<JobReport> {
    let retried = 0;
    let left = 0;
    const { log: name } = await this.log.status();
    for (let partition = 0; partition < LOG_PARTITIONS; partition++) {
      // Listed whole, because those that stay would be listed again.
      const letters = await this.log.listDeadLetters(partition, LETTERS_MAX);
      for (const page of pages(letters, ENTRY_EVENTS_MAX)) {
        signal.throwIfAborted();
        const { events, done, dead } = this.#readLetters(name, page);
        await this.#append(events);
        // Before the letter of a whole entry is removed, its dead events have letters of their own.
        await this.log.addDeadLetters(dead);
        await this.log.removeDeadLetters(done);
        retried += events.length;
        left += dead.length;
        for (const { offset, index, reason } of dead) await report({ partition, offset: `${offset}:${index}`, reason });
      }
    }
    return { retried, left };
  }

  #readLetters(log: string, letters: readonly DeadLetter[]): ReadLetters {
    const read: ReadLetters = { events: [], done: [], dead: [] };
    for (const letter of letters) {
      const { events, dead } = this.#readLetter(letter);
      for (const { event, index } of events) read.events.push(this.#withKey(event, log, letter.offset, index));
      for (const one of dead) read.dead.push({ ...letter, ...one });
      if (!dead.some(({ index }) => index === letter.index)) read.done.push(letter);
    }
    return read;
  }

  /** Reads the letter of an event, or of an entry that could not be decoded. */
  #readLetter(letter: DeadLetter): {
    readonly events: readonly { readonly event: LoggedEvent; readonly index: number }[];
    readonly dead: readonly Pick<DeadLetter, 'index' | 'reason' | 'event'>[];
  } {
    const { metrics, clock } = this.options;
    const entry = decodeEntry(letter.event, metrics);
    if (entry.acceptedAtMs !== null) {
      const deadIndices = new Set(entry.dead.map(({ index }) => index));
      const indices = [...Array(entry.events.length + entry.dead.length).keys()].filter((i) => !deadIndices.has(i));
      return { events: entry.events.map((event, i) => ({ event, index: indices[i]! })), dead: entry.dead };
    }
    try {
      const event = decodeEvent(letter.event, metrics, readSecond(clock));
      return { events: [{ event, index: letter.index }], dead: [] };
    } catch (error) {
      const isEvent = letter.event.startsWith('[');
      return { events: [], dead: [isEvent ? { ...letter, reason: (error as Error).message } : letter] };
    }
  }

  #withKey(event: LoggedEvent, log: string, offset: number, index: number): LoggedEvent {
    if (event.session !== null) return event;
    const idempotencyKey = `dead:${log}:${offset}:${index}`;
    const metric = this.options.metrics.list[event.metric]!.name;
    const session = toRequestKey({ actor: null, idempotencyKey, post: event.post, metric, action: event.kind });
    return { ...event, session, seq: 1 };
  }

  /** @throws ProtocolError */
  async #append(events: readonly LoggedEvent[]): Promise<void> {
    if (events.length === 0) return;
    const { buckets, metrics, clock } = this.options;
    const byPartition = groupBy(events, ({ post }) => bucketOf(post, buckets) % LOG_PARTITIONS);
    const appends = [...byPartition].flatMap(([partition, all]) =>
      pages(all, ENTRY_EVENTS_MAX).map((group) => {
        return { partition, events: group.length, payload: encodeEntry(clock.wallMs(), group, metrics) };
      }),
    );
    try {
      await this.log.append(appends);
    } catch (error) {
      if (error instanceof LogFullError) throw new ProtocolError('OVERLOADED', error.message, RETRY_AFTER_MS);
      throw error;
    }
  }
}

import type { JetStreamManager } from '@nats-io/jetstream';
import type { Clock } from '../../common/clock.js';
import { LOG_PARTITIONS } from '../event-log.js';
import type { LogStreams } from './log-streams.js';

/** How often a gateway that appends asks what the others have appended and trimmed, … */
const REFRESH_MS = 1_000;
/** … and how often while the log seems to be full. */
const REFRESH_WHEN_FULL_MS = 100;

/**
 * How many events the log holds, as this gateway knows it. The server limits bytes alone, so the limit of events is that of each gateway,
 * and can be exceeded by what the others append within a second.
 */
export class StoredEvents {
  #stored = 0;
  /** Events that are appended now. */
  #inFlight = 0;
  #readAtMs = -Infinity;
  #reading: Promise<unknown> | null = null;

  constructor(
    private readonly manager: JetStreamManager,
    private readonly streams: LogStreams,
    private readonly clock: Clock,
    private readonly eventsMax: number,
  ) {}

  /** Makes room for events. @returns false: the log is full; else `settle` has to follow */
  async reserve(events: number): Promise<boolean> {
    const ageMs = this.clock.nowMs() - this.#readAtMs;
    if (ageMs >= REFRESH_MS || (!this.#hasRoom(events) && ageMs >= REFRESH_WHEN_FULL_MS)) {
      this.#reading ??= this.read().finally(() => (this.#reading = null));
      await this.#reading;
    }
    if (!this.#hasRoom(events)) return false;
    this.#inFlight += events;
    return true;
  }

  settle(events: number, isAppended: boolean): void {
    this.#inFlight -= events;
    if (isAppended) this.#stored += events;
  }

  /** @returns by partition */
  async read(): Promise<readonly number[]> {
    const { entries, subjects } = this.streams;
    const { state } = await this.manager.streams.info(entries, { subjects_filter: subjects.entries('*') });
    const counts = new Array<number>(LOG_PARTITIONS).fill(0);
    for (const [subject, count] of Object.entries(state.subjects ?? {})) {
      const [partition = 0] = subjects.parse(subject);
      // Another program may have written to subjects of no partition, which nobody reads.
      if (counts[partition] !== undefined) counts[partition] += subjects.parseEvents(subject) * count;
    }
    this.#stored = counts.reduce((sum, one) => sum + one, 0);
    this.#readAtMs = this.clock.nowMs();
    return counts;
  }

  #hasRoom(events: number): boolean {
    return this.#stored + this.#inFlight + events <= this.eventsMax;
  }
}

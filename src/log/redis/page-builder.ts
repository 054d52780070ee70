import type { LogEntry, LogPage } from '../event-log.js';
import type { ReadRequest } from './scripts/log-scripts.js';

/** Puts the page of a partition together from several reads. */
export class PageBuilder {
  #first: LogPage | null = null;
  readonly #entries: LogEntry[] = [];
  #events = 0;
  #eventsLeft = 0;
  #isComplete = false;

  constructor(private readonly whole: ReadRequest) {}

  get isComplete(): boolean {
    return this.#isComplete;
  }

  /** The rest, to be read next. */
  get request(): ReadRequest {
    const { partition, after, eventsMax } = this.whole;
    return { partition, after: this.#entries.at(-1)?.offset ?? after, eventsMax: eventsMax - this.#events };
  }

  get page(): LogPage {
    return { ...this.#first!, entries: this.#entries, eventsLeft: this.#eventsLeft };
  }

  add(next: LogPage): void {
    const first = (this.#first ??= next);
    const hasGap = next !== first && (next.log !== first.log || next.trimmedUpTo > this.request.after);
    if (hasGap) {
      this.#isComplete = true;
      return;
    }
    for (const entry of next.entries) {
      this.#entries.push(entry);
      this.#events += entry.events;
    }
    this.#eventsLeft = next.eventsLeft;
    this.#isComplete = next.eventsLeft === 0 || this.#events >= this.whole.eventsMax;
  }
}

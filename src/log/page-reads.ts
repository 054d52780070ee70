import type { Clock } from '../common/clock.js';
import type { EventLog, LogPage } from './event-log.js';

interface Waiter {
  readonly partition: number;
  readonly after: number;
  readonly resolve: (page: LogPage) => void;
  readonly reject: (error: unknown) => void;
}

/** Joins the reads of partitions that are due at the same time in one call, whose pages have a bounded number of events together. */
export class PageReads {
  #waiters: Waiter[] = [];

  constructor(
    private readonly log: Pick<EventLog, 'read'>,
    private readonly clock: Clock,
    private readonly eventsMax: number,
  ) {}

  /** One at a time for each partition. */
  read(partition: number, after: number): Promise<LogPage> {
    return new Promise((resolve, reject) => {
      if (this.#waiters.push({ partition, after, resolve, reject }) === 1) this.clock.soon(() => void this.#send());
    });
  }

  async #send(): Promise<void> {
    const waiters = this.#waiters;
    this.#waiters = [];
    try {
      const requests = waiters.map(({ partition, after }) => ({ partition, after }));
      const pages = await this.log.read(requests, Math.ceil(this.eventsMax / waiters.length));
      const byPartition = new Map(pages.map((page) => [page.partition, page]));
      for (const { partition, resolve } of waiters) resolve(byPartition.get(partition)!);
    } catch (error) {
      for (const { reject } of waiters) reject(error);
    }
  }
}

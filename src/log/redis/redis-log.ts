import type { Clock } from '../../common/clock.js';
import type { RedisClient } from '../../store/redis/client/redis-client.js';
import {
  type DeadLetter,
  type EventLog,
  LOG_PARTITIONS,
  type LogAppend,
  type LogPage,
  type LogStats,
  type LogStatus,
} from '../event-log.js';
import { pages } from '../../common/grouping.js';
import { AppendQueue } from './append-queue.js';
import { PageBuilder } from './page-builder.js';
import { CALL_LETTERS_MAX, LogScripts } from './scripts/log-scripts.js';

export interface RedisLogOptions {
  readonly clock: Clock;
  /** Events that it holds at most. */
  readonly eventsMax: number;
  /** Makes a random name for a log. */
  readonly newName: () => string;
}

/**
 * A log in streams of one Redis server, which may have replicas. An entry of a stream is an entry of the log. All keys are of one
 * server, so that one script appends to several partitions, or reads them at one instant.
 */
export class RedisLog implements EventLog {
  readonly #scripts: LogScripts;
  readonly #appends: AppendQueue;
  #appendedEvents = 0;
  #deadLetters = 0;
  #droppedDeadLetters = 0;

  /**
   * Makes the log where there is none.
   * @param client to be closed by the log
   * @throws Error with one line
   */
  static async open(client: RedisClient, options: RedisLogOptions): Promise<RedisLog> {
    const log = new RedisLog(client, options);
    try {
      const { partitionCount } = await log.#scripts.readStatus();
      if (partitionCount === LOG_PARTITIONS) return log;
      throw new Error(`it has ${partitionCount} partitions, not ${LOG_PARTITIONS}; use the version that made it`);
    } catch (error) {
      await client.close();
      throw new Error(`LOG_URL ${client.url}: ${(error as Error).message}`, { cause: error });
    }
  }

  private constructor(
    private readonly client: RedisClient,
    private readonly options: RedisLogOptions,
  ) {
    const { clock, eventsMax, newName } = options;
    const scripts = new LogScripts(client, newName);
    this.#scripts = scripts;
    this.#appends = new AppendQueue(clock, eventsMax, (requests) => scripts.append(requests, eventsMax));
  }

  get available(): boolean {
    return this.client.available;
  }

  get url(): string {
    return this.client.url;
  }

  get stats(): LogStats {
    return {
      appendedEvents: this.#appendedEvents,
      deadLetters: this.#deadLetters,
      droppedDeadLetters: this.#droppedDeadLetters,
    };
  }

  async append(appends: readonly LogAppend[]): Promise<void> {
    await this.#appends.append(appends);
    for (const { events } of appends) this.#appendedEvents += events;
  }

  async read(
    requests: readonly { readonly partition: number; readonly after: number }[],
    eventsMax: number,
  ): Promise<readonly LogPage[]> {
    const builders = requests.map((request) => new PageBuilder({ ...request, eventsMax }));
    for (let open = builders; open.length > 0; open = open.filter(({ isComplete }) => !isComplete)) {
      const read = await this.#scripts.read(open.map(({ request }) => request));
      for (const [i, page] of read.entries()) open[i]!.add(page);
    }
    return builders.map(({ page }) => page);
  }

  async trim(log: string, partition: number, upTo: number): Promise<void> {
    while (await this.#scripts.trim(log, partition, upTo));
  }

  async addDeadLetters(letters: readonly DeadLetter[]): Promise<void> {
    for (const some of pages(letters, CALL_LETTERS_MAX)) {
      const { added, dropped } = await this.#scripts.addDeadLetters(some);
      this.#deadLetters += added;
      this.#droppedDeadLetters += dropped;
    }
  }

  async listDeadLetters(partition: number, limit: number): Promise<readonly DeadLetter[]> {
    const letters: DeadLetter[] = [];
    while (letters.length < limit) {
      const size = Math.min(CALL_LETTERS_MAX, limit - letters.length);
      const some = await this.#scripts.listDeadLetters(partition, letters.length, size);
      letters.push(...some);
      if (some.length < size) break;
    }
    return letters;
  }

  async removeDeadLetters(letters: readonly DeadLetter[]): Promise<void> {
    for (const some of pages(letters, CALL_LETTERS_MAX)) await this.#scripts.removeDeadLetters(some);
  }

  async status(): Promise<LogStatus> {
    const { log, partitions } = await this.#scripts.readStatus();
    return { log, eventsMax: this.options.eventsMax, partitions };
  }

  async close(): Promise<void> {
    await this.client.close();
  }
}

import type { JetStreamClient, JetStreamManager } from '@nats-io/jetstream';
import { pages } from '../../common/grouping.js';
import { type DeadLetter, LOG_PARTITIONS } from '../event-log.js';
import type { LogStreams } from './log-streams.js';

/** Letters of a partition that are kept: those with the highest offsets. */
const LETTERS_MAX = 10_000;
/** Requests in flight. */
const WINDOW = 200;

type LetterId = Pick<DeadLetter, 'partition' | 'offset' | 'index'>;

/** Dead letters of a log: one message each, under its partition, offset and index. Cost of all but removing: one request with all ids. */
export class NatsDeadLetters {
  /** Letters that replaced none, since boot. */
  added = 0;
  /** By partition, since boot. */
  readonly dropped: number[] = new Array<number>(LOG_PARTITIONS).fill(0);

  constructor(
    private readonly manager: JetStreamManager,
    private readonly client: JetStreamClient,
    private readonly streams: LogStreams,
  ) {}

  async add(letters: readonly DeadLetter[]): Promise<void> {
    const before = (await this.#list('*')).length;
    for (const some of pages(letters, WINDOW)) {
      await Promise.all(some.map((letter) => this.client.publish(this.#subject(letter), JSON.stringify(letter))));
    }
    this.added += (await this.#list('*')).length - before;
    for (const partition of new Set(letters.map((letter) => letter.partition))) await this.#dropOldest(partition);
  }

  async list(partition: number, limit: number): Promise<readonly DeadLetter[]> {
    const letters: DeadLetter[] = [];
    for (const some of pages((await this.#list(partition)).slice(0, limit), WINDOW)) {
      const messages = await Promise.all(
        some.map((id) => this.manager.streams.getMessage(this.streams.state, { last_by_subj: this.#subject(id) })),
      );
      for (const message of messages) if (message !== null) letters.push(message.json<DeadLetter>());
    }
    return letters;
  }

  async remove(letters: readonly LetterId[]): Promise<void> {
    const { state } = this.streams;
    for (const some of pages(letters, WINDOW)) {
      await Promise.all(some.map((letter) => this.manager.streams.purge(state, { filter: this.#subject(letter) })));
    }
  }

  /** @returns by partition */
  async count(): Promise<readonly number[]> {
    const counts = new Array<number>(LOG_PARTITIONS).fill(0);
    for (const { partition } of await this.#list('*')) counts[partition]! += 1;
    return counts;
  }

  async #dropOldest(partition: number): Promise<void> {
    const ids = await this.#list(partition);
    const oldest = ids.slice(0, Math.max(0, ids.length - LETTERS_MAX));
    await this.remove(oldest);
    this.dropped[partition]! += oldest.length;
  }

  /** Oldest first. */
  async #list(partition: number | '*'): Promise<LetterId[]> {
    const { state, subjects } = this.streams;
    const info = await this.manager.streams.info(state, { subjects_filter: subjects.dead(partition) });
    return Object.keys(info.state.subjects ?? {})
      .map((subject) => {
        const [of = 0, offset = 0, index = 0] = subjects.parse(subject);
        return { partition: of, offset, index };
      })
      .sort((a, b) => a.offset - b.offset || a.index - b.index);
  }

  #subject({ partition, offset, index }: LetterId): string {
    return this.streams.subjects.dead(partition, `${offset}.${index}`);
  }
}

import { jetstream, type JetStreamClient, jetstreamManager, type JetStreamManager } from '@nats-io/jetstream';
import type { NatsConnection } from '@nats-io/transport-node';
import type { Clock } from '../../common/clock.js';
import {
  type DeadLetter,
  type EventLog,
  LOG_PARTITIONS,
  type LogAppend,
  LogFullError,
  type LogPage,
  type LogStats,
  type LogStatus,
} from '../event-log.js';
import { isFull, isGone } from './log-errors.js';
import { LogStreams } from './log-streams.js';
import { NatsDeadLetters } from './nats-dead-letters.js';
import { PartitionCursor } from './partition-cursor.js';
import { StoredEvents } from './stored-events.js';

/** Time limit of a request and of an acknowledgement. */
const RESPONSE_MS = 5_000;

export interface NatsLogOptions {
  readonly stream: string;
  /** The server's URL without a login. */
  readonly url: string;
  readonly eventsMax: number;
  /** Bytes of the stream of entries, if it is made. */
  readonly bytesMax: number;
  readonly clock: Clock;
  /** Makes a random name for a log. */
  readonly newName: () => string;
  /** Called with one line for the operator. */
  readonly warn: (message: string) => void;
}

/**
 * A log in a stream of NATS JetStream. An entry is a message, its offset the message's sequence number, which the server does not use
 * twice. A server that comes back without messages that it had acknowledged would: then reading fails until an operator decides.
 */
export class NatsLog implements EventLog {
  readonly #client: JetStreamClient;
  readonly #cursors: readonly PartitionCursor[];
  /** By partition: when its last read ends. */
  readonly #reads = new Array<Promise<unknown>>(LOG_PARTITIONS).fill(Promise.resolve());
  readonly #deadLetters: NatsDeadLetters;
  readonly #stored: StoredEvents;
  #isConnected = true;
  #appendedEvents = 0;

  /**
   * Creates the streams if they are missing.
   * @param connection to be closed by the log
   * @throws Error, one line for the operator
   */
  static async open(connection: NatsConnection, options: NatsLogOptions): Promise<NatsLog> {
    try {
      const manager = await jetstreamManager(connection, { timeout: RESPONSE_MS, checkAPI: false });
      const streams = new LogStreams(manager, options.stream, options.bytesMax, options.newName);
      const { log } = await streams.open();
      return new NatsLog(connection, manager, streams, options, log);
    } catch (error) {
      await connection.close();
      throw error;
    }
  }

  private constructor(
    private readonly connection: NatsConnection,
    private readonly manager: JetStreamManager,
    private readonly streams: LogStreams,
    private readonly options: NatsLogOptions,
    private log: string,
  ) {
    const client = jetstream(connection, { timeout: RESPONSE_MS });
    this.#client = client;
    this.#cursors = Array.from({ length: LOG_PARTITIONS }, (_, partition) => {
      return new PartitionCursor({ manager, client, stream: streams.entries, subjects: streams.subjects, partition });
    });
    this.#deadLetters = new NatsDeadLetters(manager, client, streams);
    this.#stored = new StoredEvents(manager, streams, options.clock, options.eventsMax);
    void this.#followConnection();
  }

  get available(): boolean {
    return this.#isConnected;
  }

  get url(): string {
    return this.options.url;
  }

  get stats(): LogStats {
    const { added, dropped } = this.#deadLetters;
    return {
      appendedEvents: this.#appendedEvents,
      deadLetters: added,
      droppedDeadLetters: dropped.reduce((sum, one) => sum + one, 0),
    };
  }

  async append(appends: readonly LogAppend[]): Promise<void> {
    // The client would keep the messages, and send them when the connection is back.
    if (!this.#isConnected) throw new Error('NATS is not connected');
    const events = appends.reduce((sum, one) => sum + one.events, 0);
    if (!(await this.#stored.reserve(events))) throw new LogFullError(this.options.eventsMax);
    let isAppended = false;
    try {
      await this.#publish(appends);
      isAppended = true;
      this.#appendedEvents += events;
    } finally {
      this.#stored.settle(events, isAppended);
    }
  }

  read(
    requests: readonly { readonly partition: number; readonly after: number }[],
    eventsMax: number,
  ): Promise<readonly LogPage[]> {
    return Promise.all(
      requests.map(({ partition, after }) => {
        // One after the other: they share the cursor, and would take entries from each other.
        const page = this.#reads[partition]!.then(() => this.#readPartition(partition, after, eventsMax));
        this.#reads[partition] = page.catch(() => undefined);
        return page;
      }),
    );
  }

  async trim(log: string, partition: number, upTo: number): Promise<void> {
    const { entries, state, subjects } = this.streams;
    const filter = subjects.entries(partition);
    const last = await this.manager.streams.getMessage(entries, { last_by_subj: filter });
    if (log !== this.log || last === null) return;
    const trimmedUpTo = Math.min(upTo, last.seq);
    if (trimmedUpTo <= (await this.#readTrimmed(partition))) return;
    // Before the entries go, so that nobody reads past a gap unawares.
    await this.#client.publish(subjects.trimmed(partition), String(trimmedUpTo), { expect: { streamName: state } });
    await this.manager.streams.purge(entries, { filter, seq: trimmedUpTo + 1 });
    await this.#stored.read();
  }

  addDeadLetters(letters: readonly DeadLetter[]): Promise<void> {
    return this.#deadLetters.add(letters);
  }

  listDeadLetters(partition: number, limit: number): Promise<readonly DeadLetter[]> {
    return this.#deadLetters.list(partition, limit);
  }

  removeDeadLetters(letters: readonly DeadLetter[]): Promise<void> {
    return this.#deadLetters.remove(letters);
  }

  async status(): Promise<LogStatus> {
    this.log = (await this.streams.open()).log;
    const [events, dead] = await Promise.all([this.#stored.read(), this.#deadLetters.count()]);
    const partitions = events.map((stored, partition) => ({
      partition,
      events: stored,
      deadLetters: dead[partition]!,
      droppedDeadLetters: this.#deadLetters.dropped[partition]!,
    }));
    return { log: this.log, eventsMax: this.options.eventsMax, partitions };
  }

  async close(): Promise<void> {
    await this.connection.close();
  }

  /** The parts of a request one by one: if the stream gets full between them, the outcome is unknown. */
  async #publish(appends: readonly LogAppend[]): Promise<void> {
    const { subjects, entries } = this.streams;
    const results = await Promise.allSettled(
      appends.map(({ partition, events, payload }) =>
        this.#client.publish(subjects.entries(partition, events), payload, { expect: { streamName: entries } }),
      ),
    );
    const failures = results.flatMap((result) => (result.status === 'rejected' ? [result.reason as unknown] : []));
    if (failures.length === 0) return;
    if (failures.length === appends.length && failures.every(isFull)) throw new LogFullError(this.options.eventsMax);
    throw failures[0];
  }

  async #readPartition(partition: number, after: number, eventsMax: number): Promise<LogPage> {
    const cursor = this.#cursors[partition]!;
    if (cursor.isAt(after)) {
      try {
        return { partition, log: this.log, trimmedUpTo: 0, ...(await cursor.read(eventsMax)) };
      } catch (error) {
        if (!isGone(error)) throw error;
      }
    }
    const previous = this.log;
    const { log, lastSeq } = await this.streams.open();
    this.log = log;
    const trimmedUpTo = await this.#readTrimmed(partition);
    if (log !== previous) return { partition, log, trimmedUpTo, entries: [], eventsLeft: 0 };
    if (lastSeq < after) throw new Error(this.#explainLoss(lastSeq, after));
    await cursor.moveTo(after);
    return { partition, log, trimmedUpTo, ...(await cursor.read(eventsMax)) };
  }

  async #readTrimmed(partition: number): Promise<number> {
    const { state, subjects } = this.streams;
    const last = await this.manager.streams.getMessage(state, { last_by_subj: subjects.trimmed(partition) });
    return last === null ? 0 : Number(last.string());
  }

  #explainLoss(lastSeq: number, after: number): string {
    const { stream } = this.options;
    return (
      `the stream ${stream} ends at ${lastSeq}, but events up to ${after} of it are counted: it lost messages, and would use their ` +
      `numbers again. Save it with nats stream backup, and delete it: it is created again`
    );
  }

  async #followConnection(): Promise<void> {
    for await (const { type } of this.connection.status()) {
      if (type !== 'disconnect' && type !== 'reconnect') continue;
      this.#isConnected = type === 'reconnect';
      this.options.warn(`${this.options.url}: ${this.#isConnected ? 'connected' : 'connection lost'}`);
    }
    this.#isConnected = false;
  }
}

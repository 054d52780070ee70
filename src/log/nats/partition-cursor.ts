import {
  AckPolicy,
  type Consumer,
  DeliverPolicy,
  type JetStreamClient,
  type JetStreamManager,
} from '@nats-io/jetstream';
import { nanos } from '@nats-io/transport-node';
import type { LogEntry } from '../event-log.js';
import type { LogSubjects } from './log-streams.js';

/** Messages of one request: an entry has 100 kB at most. */
const FETCH_MAX = 128;
/** The messages are there before they are requested, so this is the time limit of a server that is slow. */
const FETCH_MS = 5_000;
/** The server removes a consumer that was not used for this long: its gateway is gone. */
const INACTIVE_MS = 60_000;
/** The consumer does not send again what was on its way when the connection was lost: the next read makes another one. */
const LOST = 'the connection to NATS was lost during a read';

export interface PartitionCursorOptions {
  readonly manager: JetStreamManager;
  readonly client: JetStreamClient;
  readonly stream: string;
  readonly subjects: LogSubjects;
  readonly partition: number;
}

/**
 * Reads the entries of one partition in order. The server has a consumer for it, which goes on where the last page ended; a request for
 * another place makes another consumer.
 */
export class PartitionCursor {
  #consumer: Consumer | null = null;
  /** Offset after which the next page begins. */
  #after = -1;
  /** Entries that the consumer has passed, and no page has yet. */
  #fetched: LogEntry[] = [];
  /** Messages of the consumer that have arrived. */
  #delivered = 0;

  constructor(private readonly options: PartitionCursorOptions) {}

  /** Whether the next entries of the consumer are those after this offset. */
  isAt(after: number): boolean {
    return this.#consumer !== null && this.#after === after;
  }

  async moveTo(after: number): Promise<void> {
    this.#consumer = null;
    this.#fetched = [];
    this.#delivered = 0;
    const { manager, client, stream, subjects, partition } = this.options;
    const info = await manager.consumers.add(stream, {
      filter_subject: subjects.entries(partition),
      deliver_policy: DeliverPolicy.StartSequence,
      opt_start_seq: after + 1,
      ack_policy: AckPolicy.None,
      mem_storage: true,
      num_replicas: 1,
      inactive_threshold: nanos(INACTIVE_MS),
    });
    this.#consumer = client.consumers.getConsumerFromInfo(info);
    this.#after = after;
  }

  /** One at a time. `eventsLeft` is a number of entries: the server does not know how many events they have. */
  async read(eventsMax: number): Promise<{ readonly entries: readonly LogEntry[]; readonly eventsLeft: number }> {
    const consumer = this.#consumer!;
    // While a request runs, the place of the consumer is not known.
    this.#consumer = null;
    const { num_pending, delivered } = await consumer.info();
    if (delivered.consumer_seq !== this.#delivered) throw new Error(LOST);
    let pending = num_pending;
    const entries: LogEntry[] = [];
    for (let events = 0; events < eventsMax;) {
      if (this.#fetched.length === 0 && pending > 0) {
        this.#fetched = await this.#fetch(consumer, Math.min(pending, FETCH_MAX));
        pending -= this.#fetched.length;
      }
      const next = this.#fetched.shift();
      // Entries that were trimmed meanwhile no longer come.
      if (next === undefined) break;
      entries.push(next);
      events += next.events;
    }
    this.#after = entries.at(-1)?.offset ?? this.#after;
    this.#consumer = consumer;
    return { entries, eventsLeft: pending + this.#fetched.length };
  }

  async #fetch(consumer: Consumer, wanted: number): Promise<LogEntry[]> {
    const entries: LogEntry[] = [];
    for await (const message of await consumer.fetch({ max_messages: wanted, expires: FETCH_MS })) {
      this.#delivered += 1;
      if (message.info.deliverySequence !== this.#delivered) throw new Error(LOST);
      const events = this.options.subjects.parseEvents(message.subject);
      entries.push({ offset: message.seq, events, payload: message.string() });
    }
    return entries;
  }
}

import { jetstreamManager } from '@nats-io/jetstream';
import type { NatsServer } from '../support/nats-server.js';
import type { Row, RowConsumer } from './row-consumer.js';

const COUNTS = 'tallycast.counts.>';

/** A message of the stream. */
export interface ReadMessage {
  readonly seq: number;
  readonly subject: string;
}

/** A program that reads a stream from its first message on, also over restarts of the server. */
export class NatsReader {
  readonly messages: ReadMessage[] = [];
  #nextSeq = 1;

  constructor(
    private readonly server: NatsServer,
    private readonly stream: string,
    private readonly consumer: RowConsumer,
  ) {}

  /** Reads what is there. */
  async poll(): Promise<void> {
    const connection = await this.server.connect();
    try {
      const { streams } = await jetstreamManager(connection);
      for (;;) {
        const next = { seq: this.#nextSeq, next_by_subj: COUNTS };
        const message = await streams.getMessage(this.stream, next);
        if (message === null) return;
        this.#nextSeq = message.seq + 1;
        this.messages.push({ seq: message.seq, subject: message.subject });
        this.consumer.take(message.json<Row>());
      }
    } finally {
      await connection.close();
    }
  }
}

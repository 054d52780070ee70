import { pages } from '../../common/grouping.js';
import type { NatsTarget } from '../../config/nats-url.js';
import type { Metrics } from '../../counters/metrics.js';
import type { RowEncoder } from '../count-row.js';
import type { BucketWrite } from '../sink.js';
import type { PostReceiver } from '../stored-positions.js';
import { toSinkError } from './nats-errors.js';
import { NatsStream, type StreamMessage, WINDOW } from './nats-stream.js';

export interface NatsReceiverOptions {
  readonly name: string;
  readonly target: NatsTarget;
  readonly region: string;
  readonly rows: RowEncoder;
  readonly metrics: Metrics;
}

/** Publishes the newest counts of each post, and each milestone, to its subject in a stream, which keeps one message a subject. */
export class NatsReceiver implements PostReceiver {
  #stream: NatsStream | null = null;
  /** The sequence number of the last message that the server has acknowledged. */
  #lastSeq = 0;

  constructor(private readonly options: NatsReceiverOptions) {}

  get name(): string {
    return this.options.name;
  }

  open(): Promise<boolean> {
    return this.#withStream(async (stream) => {
      const { num_subjects = 0, last_seq } = await stream.open();
      // A stream that is new or was purged has a fence at most. A server that lost its power may have lost what it had acknowledged.
      const isIntact = num_subjects > 1 && last_seq >= this.#lastSeq;
      await stream.fence(this.options.region);
      return isIntact;
    });
  }

  send(writes: readonly BucketWrite[]): Promise<boolean> {
    const messages = writes.flatMap((write) => this.#encode(write));
    const hasMilestones = writes.some(({ milestones }) => milestones.length > 0);
    return this.#withStream(async (stream) => {
      if (hasMilestones) stream.requireMilestones();
      for (const page of pages(messages, WINDOW)) if (!(await stream.publish(page))) return false;
      return true;
    });
  }

  async close(): Promise<void> {
    await this.#stream?.close();
    this.#stream = null;
  }

  #encode({ bucket, posts, milestones }: BucketWrite): StreamMessage[] {
    const { rows, metrics } = this.options;
    const counts = posts.map((one) => ({
      subject: `tallycast.counts.${bucket}.${toToken(one.post)}`,
      body: rows.encode(one),
    }));
    const reached = milestones.map((one) => ({
      subject: `tallycast.milestones.${bucket}.${toToken(one.post)}.${metrics.list[one.metric]!.name}.${one.n}`,
      body: rows.encodeMilestoneLine(one),
    }));
    return [...counts, ...reached];
  }

  /** A stream with a failed request is not used again, because messages of it may still be on their way. */
  async #withStream<T>(action: (stream: NatsStream) => Promise<T>): Promise<T> {
    try {
      this.#stream ??= await NatsStream.connect(this.options.target);
      const result = await action(this.#stream);
      this.#lastSeq = this.#stream.lastSeq;
      return result;
    } catch (error) {
      await this.close();
      throw toSinkError(error);
    }
  }
}

/** A dot would end the token. */
function toToken(post: string): string {
  return post.replaceAll('.', '%2E');
}

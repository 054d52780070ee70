import {
  jetstream,
  type JetStreamClient,
  jetstreamManager,
  type JetStreamManager,
  type StreamConfig,
  type StreamState,
} from '@nats-io/jetstream';
import { connect, type NatsConnection } from '@nats-io/transport-node';
import { type NatsTarget, toConnectionOptions } from '../../config/nats-url.js';
import { SinkError } from '../sink.js';
import { isStreamNotFound, isWrongLastSequence } from './nats-errors.js';
import { requireKept, requireMilestonesKept } from './stream-config.js';

const SUBJECTS = 'tallycast.>';
const FEEDER_SUBJECT = 'tallycast.feeder';
/** Time limit of a connection, a request and an acknowledgement. */
const RESPONSE_MS = 5_000;
/** Messages that wait for their acknowledgements at a time. A fence has as many, so all gateways have to agree on it. */
export const WINDOW = 256;

export interface StreamMessage {
  readonly subject: string;
  readonly body: string;
}

/**
 * A connection to a stream that one gateway writes at a time. Each message says which sequence number the one before it has, so messages
 * of a gateway are stored one right after the other, or not at all.
 *
 * A gateway that takes over publishes a fence of WINDOW messages first. One message would not do: up to WINDOW messages of its predecessor
 * may still be on their way, each expecting the number after the one before it, and the fence would be taken for one of them.
 *
 *     predecessor   41 → 42 → 43 → 44 …   on their way, expect 40, 41, 42, 43 …
 *     stream        … 40  [fence 41, 42, 43 … 296]  last is 296: every expectation of the predecessor fails
 */
export class NatsStream {
  #lastSeq = 0;
  #config: StreamConfig | null = null;

  private constructor(
    private readonly connection: NatsConnection,
    private readonly manager: JetStreamManager,
    private readonly client: JetStreamClient,
    private readonly target: NatsTarget,
  ) {}

  static async connect(target: NatsTarget): Promise<NatsStream> {
    const connection = await connect({
      ...toConnectionOptions(target),
      name: 'tallycast',
      timeout: RESPONSE_MS,
      // A lost connection may have lost messages, so it is followed by a new one and a fence.
      reconnect: false,
      ignoreClusterUpdates: true,
      noAsyncTraces: true,
    });
    const manager = await jetstreamManager(connection, { timeout: RESPONSE_MS, checkAPI: false });
    return new NatsStream(connection, manager, jetstream(connection, { timeout: RESPONSE_MS }), target);
  }

  get lastSeq(): number {
    return this.#lastSeq;
  }

  /** Creates the stream if it is missing. */
  async open(): Promise<StreamState> {
    const { streams } = this.manager;
    const { stream } = this.target;
    const { state, config } = await streams.info(stream).catch((error: unknown) => {
      if (!isStreamNotFound(error)) throw error;
      return streams.add({ name: stream, subjects: [SUBJECTS], max_msgs_per_subject: 1 });
    });
    requireKept(config);
    this.#config = config;
    return state;
  }

  /** To be called before the first milestone is published. @throws SinkError if somebody has created the stream without their subjects */
  requireMilestones(): void {
    if (this.#config !== null) requireMilestonesKept(this.#config);
  }

  /** Ends the writes of all other gateways. */
  async fence(region: string): Promise<void> {
    await this.#checkRegion(region);
    const body = JSON.stringify({ region });
    const { seq } = await this.client.publish(FEEDER_SUBJECT, body, { expect: { streamName: this.target.stream } });
    this.#lastSeq = seq;
    const isAlone = await this.publish(Array.from({ length: WINDOW }, () => ({ subject: FEEDER_SUBJECT, body })));
    if (!isAlone) throw new SinkError('another gateway takes over the stream at the same time', false);
  }

  /**
   * @param messages at most WINDOW
   * @returns false: somebody else has published, and some of the messages at most are stored
   */
  async publish(messages: readonly StreamMessage[]): Promise<boolean> {
    const before = this.#lastSeq;
    const acks = await Promise.allSettled(
      messages.map(({ subject, body }, i) =>
        this.client.publish(subject, body, { expect: { lastSequence: before + i } }),
      ),
    );
    const failed = acks.find((ack) => ack.status === 'rejected');
    if (failed === undefined) {
      this.#lastSeq = before + messages.length;
      return true;
    }
    if (isWrongLastSequence(failed.reason)) return false;
    throw failed.reason;
  }

  async close(): Promise<void> {
    await this.connection.close();
  }

  /** Deployments of two regions that took over from each other all the time would publish little else than fences. */
  async #checkRegion(region: string): Promise<void> {
    const { stream } = this.target;
    const last = await this.manager.streams.getMessage(stream, { last_by_subj: FEEDER_SUBJECT });
    const other = last?.json<{ readonly region: string }>().region;
    if (other === undefined || other === region) return;
    throw new SinkError(`region ${other} feeds the stream ${stream}; name another stream, or delete this one`, true);
  }
}

import type { Clock } from '../../common/clock.js';

/** TTL of the result "no subscribers on other gateways": a hello may have been lost with its connection. */
const TTL_MS = 60_000;

type Message = string | Buffer;

/**
 * Caches on which channels no other gateway subscribes, because most actors have connections to one gateway only. Redis
 * returns how many subscribers a message reached. If it reached this gateway alone, nothing more is published on the
 * channel until another gateway publishes a hello there, which each does as soon as it has subscribed.
 *
 *     publishes ──a message reached no other──▶ publishes nothing ──a hello, or TTL_MS──▶ publishes
 *
 * So an actor that likes a hundred posts a second costs Redis nothing, and a connection one message. Where this gateway
 * does not subscribe itself it receives no hello, and publishes everything.
 */
export class RemoteSubscribers {
  /** Until when a channel has no remote subscribers. Contains only channels to which this gateway subscribes. */
  readonly #noneUntilMs = new Map<string, number>();
  /** Channels on which a message is on its way to Redis, and no hello was received since. */
  readonly #inFlight = new Set<string>();

  /**
   * @param publish resolves with the number of subscribers that it reached
   * @param isSubscribed whether this gateway subscribes to the channel
   */
  constructor(
    private readonly clock: Clock,
    private readonly publish: (channel: string, message: Message) => Promise<unknown>,
    private readonly isSubscribed: (channel: string) => boolean,
  ) {}

  /** Whether another gateway may subscribe to the channel. */
  hasRemoteSubscribers(channel: string): boolean {
    const untilMs = this.#noneUntilMs.get(channel);
    if (untilMs === undefined) return true;
    if (untilMs > this.clock.nowMs()) return false;
    this.#noneUntilMs.delete(channel);
    return true;
  }

  /** Settles in any case, also when publishing fails. */
  async send(channel: string, message: Message): Promise<void> {
    if (!this.hasRemoteSubscribers(channel)) return;
    this.#inFlight.add(channel);
    const reached = await this.publish(channel, message).catch(() => null);
    // A gateway whose hello came meanwhile may have subscribed too late to be reached.
    const isCurrent = this.#inFlight.delete(channel);
    if (typeof reached !== 'number' || reached > 1) this.#noneUntilMs.delete(channel);
    else if (isCurrent && this.isSubscribed(channel)) this.#noneUntilMs.set(channel, this.clock.nowMs() + TTL_MS);
  }

  /** Another gateway has subscribed to the channel, or may have. */
  invalidate(channel: string): void {
    this.#noneUntilMs.delete(channel);
    this.#inFlight.delete(channel);
  }
}

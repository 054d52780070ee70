import type { Clock } from '../../common/clock.js';

/** This long at most a channel is taken to be quiet without asking: a greeting may have been lost with its connection. */
const QUIET_MS = 60_000;

type Message = string | Buffer;

/**
 * Most actors have connections to one gateway only, and nobody else listens to what they do. Redis says how many a message
 * reached; if it was this gateway alone, nothing more is published on the channel until somebody greets there, which
 * every gateway does as soon as it listens.
 *
 *     loud ──a message reached nobody else──▶ quiet ──a greeting, or QUIET_MS──▶ loud
 *
 * So an actor that likes a hundred posts a second costs Redis nothing, and a connection one message. Where this gateway
 * does not listen itself it hears no greeting, and publishes everything.
 */
export class SubscriberCache {
  /** Until when, by channel. None on which this gateway does not listen. */
  readonly #quiet = new Map<string, number>();
  /** On which a message is on its way, and nobody has greeted since. */
  readonly #asked = new Set<string>();

  /**
   * @param publish resolves with the number of subscribers that were reached
   * @param listens whether this gateway does, to the channel
   */
  constructor(
    private readonly clock: Clock,
    private readonly publish: (channel: string, message: Message) => Promise<unknown>,
    private readonly listens: (channel: string) => boolean,
  ) {}

  /** Whether nobody would hear it but this gateway. */
  isQuiet(channel: string): boolean {
    const until = this.#quiet.get(channel);
    if (until === undefined) return false;
    if (until > this.clock.nowMs()) return true;
    this.#quiet.delete(channel);
    return false;
  }

  /** Settles in any case, also when it fails. */
  async send(channel: string, message: Message): Promise<void> {
    if (this.isQuiet(channel)) return;
    this.#asked.add(channel);
    const reached = await this.publish(channel, message).catch(() => null);
    // A gateway that greeted meanwhile may have come too late to be reached.
    const isCurrent = this.#asked.delete(channel);
    if (typeof reached !== 'number' || reached > 1) this.#quiet.delete(channel);
    else if (isCurrent && this.listens(channel)) this.#quiet.set(channel, this.clock.nowMs() + QUIET_MS);
  }

  /** Somebody came to the channel, or may have. */
  invalidate(channel: string): void {
    this.#quiet.delete(channel);
    this.#asked.delete(channel);
  }
}

import type { Clock } from '../clock.js';

/** How long a channel on which nobody else listened is taken to be still so. */
const QUIET_MS = 1_000;
/** Messages held back for a channel; with one more it is asked sooner. */
const HELD_MAX = 64;
/** Channels for which messages are held back; on others they go out at once. */
const CHANNELS_MAX = 20_000;

type Message = string | Buffer;

/**
 * Most actors have connections to one gateway only, and nobody else listens to what they do. Redis says how many a message
 * reached; if it was nobody else, the channel's next messages are held back for a second. Then the first of them finds out
 * again: with nobody there the others are dropped, for they came before; with somebody there they follow, in order.
 *
 *     loud ──a message reached nobody else──▶ quiet ──QUIET_MS, or HELD_MAX: the first held──┬─ reached somebody ─▶ loud
 *                                               ▲──────────────────reached nobody else───────┘
 *
 * So an actor that likes a hundred posts a second costs Redis a publish a second and not a hundred, nothing is lost, and
 * who came to another gateway within the last second is told a second late.
 */
export class QuietChannels {
  /** What is held back, by quiet channel. */
  readonly #held = new Map<string, Message[]>();

  /**
   * @param publish resolves with the number of subscribers that were reached
   * @param own how many of them are this gateway
   */
  constructor(
    private readonly clock: Clock,
    private readonly publish: (channel: string, message: Message) => Promise<unknown>,
    private readonly own: (channel: string) => number,
  ) {}

  /** Settles in any case, also when it fails. */
  async send(channel: string, message: Message): Promise<void> {
    const held = this.#held.get(channel);
    if (held === undefined) await this.#try(channel, message);
    else if (held.push(message) >= HELD_MAX) await this.#ask(channel);
  }

  /** @returns whether somebody else was reached, or may have been. */
  async #try(channel: string, message: Message): Promise<boolean> {
    const reached = await this.publish(channel, message).catch(() => undefined);
    if (typeof reached !== 'number' || reached > this.own(channel)) return true;
    if (this.#held.has(channel) || this.#held.size >= CHANNELS_MAX) return false;
    this.#held.set(channel, []);
    this.clock.after(QUIET_MS, () => void this.#ask(channel));
    return false;
  }

  async #ask(channel: string): Promise<void> {
    const held = this.#held.get(channel);
    this.#held.delete(channel);
    const [first, ...others] = held ?? [];
    if (first === undefined) return;
    if (!(await this.#try(channel, first))) return;
    for (const message of others) await this.publish(channel, message).catch(() => undefined);
  }
}

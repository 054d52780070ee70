import type { Clock } from '../clock.js';

/** How long a channel on which nobody else listened is taken to be still so. */
const QUIET_MS = 1_000;
/** Messages held back for a channel; with one more it is asked sooner. */
const HELD_MAX = 64;
/** Channels for which messages are held back; on others they go out at once. */
const CHANNELS_MAX = 20_000;

type Message = string | Buffer;

interface Held {
  readonly messages: Message[];
  /** How many of them came before the channel was asked; `null` while it is not. */
  before: number | null;
}

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
  /** By quiet channel. */
  readonly #held = new Map<string, Held>();

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
    if (held === undefined) {
      if (!(await this.#reachesOthers(channel, message))) this.#quieten(channel);
      return;
    }
    const { messages } = held;
    if (messages.push(message) < HELD_MAX) return;
    if (held.before === null) await this.#ask(channel, held);
    else if (messages.length > HELD_MAX) {
      // Redis has not answered for so long: as any that cannot be published, the oldest is lost.
      messages.shift();
      held.before = Math.max(0, held.before - 1);
    }
  }

  async #reachesOthers(channel: string, message: Message): Promise<boolean> {
    const reached = await this.publish(channel, message).catch(() => undefined);
    return typeof reached !== 'number' || reached > this.own(channel);
  }

  #quieten(channel: string): void {
    if (this.#held.has(channel) || this.#held.size >= CHANNELS_MAX) return;
    const held: Held = { messages: [], before: null };
    this.#held.set(channel, held);
    this.#askLater(channel, held);
  }

  #askLater(channel: string, held: Held): void {
    this.clock.after(QUIET_MS, () => {
      if (held.before === null && this.#held.get(channel) === held) void this.#ask(channel, held);
    });
  }

  /** What is sent meanwhile waits behind what is held. */
  async #ask(channel: string, held: Held): Promise<void> {
    const { messages } = held;
    const first = messages.shift();
    if (first !== undefined) {
      held.before = messages.length;
      if (!(await this.#reachesOthers(channel, first))) {
        messages.splice(0, held.before);
        held.before = null;
        this.#askLater(channel, held);
        return;
      }
      for (let next = messages.shift(); next !== undefined; next = messages.shift()) {
        await this.publish(channel, next).catch(() => undefined);
      }
    }
    this.#held.delete(channel);
  }
}

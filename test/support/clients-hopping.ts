import type { LedgerClient } from './clients.js';
import { Crowd, FAST_RECONNECT } from './clients-crowd.js';
import type { Random } from './random.js';

/** Acknowledgements to one hop, of anyone who waits for some: so hops keep pace with what gets done. */
const ACKNOWLEDGEMENTS_A_HOP = 8;

/**
 * A crowd whose clients leave their gateway for another at random moments, without waiting for what they asked there:
 * they ask for it again, in order, where they go.
 */
export class HoppingCrowd {
  readonly crowd: Crowd;
  readonly #at = new Map<LedgerClient, string>();
  readonly #closed = new Set<string>();
  #hopping = false;

  constructor(
    private readonly urls: readonly string[],
    size: number,
    posts: readonly string[],
    private readonly random: Random,
    firstActor = 0,
  ) {
    this.crowd = new Crowd(urls[0]!, size, posts, random, { ...FAST_RECONNECT, autoConnect: false }, firstActor);
    for (const client of this.crowd.clients) {
      stayOnOneTransport(client);
      const { onAcknowledged } = client;
      client.onAcknowledged = () => {
        onAcknowledged?.();
        if (this.#hopping && random.chance(1 / ACKNOWLEDGEMENTS_A_HOP)) this.#hopOne();
      };
      this.#hop(client);
    }
  }

  act(): void {
    this.#hopping = true;
    this.crowd.act();
  }

  /** Asks for nothing more, and resolves when all that was asked is acknowledged. They hop until then. */
  async stop(): Promise<void> {
    this.crowd.stop();
    await this.crowd.untilAcknowledged();
    this.stopHopping();
  }

  /** Ends the hops. */
  stopHopping(): void {
    this.#hopping = false;
  }

  /** All who are there leave at once, and nobody comes any more. */
  leaveGateway(url: string): void {
    this.#closed.add(url);
    for (const [client, at] of this.#at) if (at === url) this.#hop(client);
  }

  /** Operations that had been counted when they were asked for again. */
  get duplicates(): number {
    return this.crowd.clients.reduce((sum, { duplicates }) => sum + duplicates, 0);
  }

  #hopOne(): void {
    const busy = this.crowd.clients.filter(({ unacknowledged }) => unacknowledged > 0);
    if (busy.length > 0) this.#hop(this.random.pick(busy));
  }

  #hop(client: LedgerClient): void {
    const { socket } = client;
    const to = this.random.pick(this.urls.filter((url) => url !== this.#at.get(client) && !this.#closed.has(url)));
    this.#at.set(client, to);
    socket.disconnect();
    // Where its manager connects to next. Private in the types only.
    (socket.io as unknown as { uri: string }).uri = to;
    socket.connect();
  }
}

/** A stock client whose connection breaks in the middle of its upgrade notices nothing until no ping has come for 25 s. */
function stayOnOneTransport({ socket: { io } }: LedgerClient): void {
  io.opts.transports = io.opts.transports!.slice(-1);
}

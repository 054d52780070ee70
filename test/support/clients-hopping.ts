import type { LedgerClient } from './clients.js';
import { Crowd, FAST_RECONNECT } from './clients-crowd.js';
import type { Random } from './random.js';

/** Average number of acknowledgements before some client with unacknowledged operations hops. */
const ACKNOWLEDGEMENTS_PER_HOP = 8;

/**
 * A crowd whose clients move to another gateway at random moments, without waiting for their acknowledgements. They resend
 * the unacknowledged operations there, in order.
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
      client.onAcknowledged = (...acknowledgement) => {
        onAcknowledged?.(...acknowledgement);
        if (this.#hopping && random.chance(1 / ACKNOWLEDGEMENTS_PER_HOP)) this.#hopOne();
      };
      this.#hop(client);
    }
  }

  act(): void {
    this.#hopping = true;
    this.crowd.act();
  }

  /** Ends new operations, and resolves when all are acknowledged. Clients hop until then. */
  async stop(): Promise<void> {
    this.crowd.stop();
    await this.crowd.untilAcknowledged();
    this.stopHopping();
  }

  /** Ends the hops. */
  stopHopping(): void {
    this.#hopping = false;
  }

  /** Moves all clients away from this gateway at once; no client returns to it. */
  leaveGateway(url: string): void {
    this.#closed.add(url);
    for (const [client, at] of this.#at) if (at === url) this.#hop(client);
  }

  /** Number of resent operations that were counted already. */
  get duplicates(): number {
    return this.crowd.clients.reduce((sum, { duplicates }) => sum + duplicates, 0);
  }

  #hopOne(): void {
    const busy = this.crowd.clients.filter(({ unacknowledged }) => unacknowledged > 0);
    if (busy.length > 0) this.#hop(this.random.pick(busy));
  }

  #hop(client: LedgerClient): void {
    const to = this.random.pick(this.urls.filter((url) => url !== this.#at.get(client) && !this.#closed.has(url)));
    this.#at.set(client, to);
    client.moveTo(to);
  }
}

/** A stock client whose connection breaks during its upgrade notices it only after 25 s without a ping. */
function stayOnOneTransport({ socket: { io } }: LedgerClient): void {
  io.opts.transports = io.opts.transports!.slice(-1);
}

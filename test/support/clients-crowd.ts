import type { ManagerOptions, SocketOptions } from 'socket.io-client';
import { type Action, LedgerClient, sumLedgers, type Totals } from './clients.js';
import type { Random } from './random.js';

/** Largest burst of operations of a client. */
const BURST_MAX = 6;
const EVENTS = ['like', 'unlike', 'view', 'add'] as const;
const BY_MAX = 1_000;

/** Short reconnect delays, so that tests do not wait for them. */
export const FAST_RECONNECT = { reconnectionDelay: 20, reconnectionDelayMax: 100 };

/**
 * Actors that like, unlike and view posts at random. Each sends a burst, and the next one when all of it is acknowledged.
 * One in ten stays on long-polling, and one in ten starts there and upgrades, as stock clients do. Several gateways share
 * the actors evenly.
 */
export class Crowd {
  readonly clients: readonly LedgerClient[];
  /** How long a client rests between its bursts: a crowd that lasts for many seconds would otherwise take all of the CPU. */
  restMs = 0;
  #acting = false;
  #acknowledged = 0;
  #awaited: { readonly count: number; readonly resolve: () => void }[] = [];

  constructor(
    url: string | readonly string[],
    size: number,
    readonly posts: readonly string[],
    private readonly random: Random,
    options: Partial<ManagerOptions & SocketOptions> = FAST_RECONNECT,
    /** Number of the first actor. Names are numbers, so that both values of `ACTOR_KEYS` accept them. */
    firstActor = 0,
  ) {
    const urls = [url].flat();
    const transports = (i: number): string[] =>
      i % 10 === 0 ? ['polling'] : i % 10 === 1 ? ['polling', 'websocket'] : ['websocket'];
    this.clients = Array.from(
      { length: size },
      (_, i) =>
        new LedgerClient(urls[i % urls.length]!, String(firstActor + i), { transports: transports(i), ...options }),
    );
    for (const client of this.clients) {
      client.onAcknowledged = () => {
        this.#countAcknowledgement();
        if (client.unacknowledged > 0) return;
        if (this.restMs === 0) this.#burstIfActing(client);
        else setTimeout(() => this.#burstIfActing(client), this.restMs);
      };
    }
  }

  act(): void {
    this.#acting = true;
    for (const client of this.clients) this.#burstIfActing(client);
  }

  stop(): void {
    this.#acting = false;
  }

  /** Resolves after this many more acknowledgements. */
  untilAcknowledgements(count: number): Promise<void> {
    return new Promise((resolve) => this.#awaited.push({ count: this.#acknowledged + count, resolve }));
  }

  async untilAcknowledged(): Promise<void> {
    await Promise.all(this.clients.map((client) => client.untilAcknowledged()));
  }

  get sent(): Record<string, Totals> {
    return sumLedgers(
      this.clients.map(({ sent }) => sent),
      this.posts,
    );
  }

  get acknowledged(): Record<string, Totals> {
    return sumLedgers(
      this.clients.map(({ acknowledged }) => acknowledged),
      this.posts,
    );
  }

  #burstIfActing(client: LedgerClient): void {
    if (!this.#acting || client.unacknowledged > 0) return;
    for (let left = 1 + this.random.below(BURST_MAX); left > 0; left--) client.act(this.#randomAction());
  }

  #randomAction(): Action {
    const post = this.random.pick(this.posts);
    const event = this.random.pick(EVENTS);
    if (event !== 'add') return { event, post };
    return { event, post, metric: 'views', by: 1 + this.random.below(BY_MAX) };
  }

  #countAcknowledgement(): void {
    this.#acknowledged += 1;
    if (!this.#awaited.some(({ count }) => this.#acknowledged >= count)) return;
    for (const { count, resolve } of this.#awaited) if (this.#acknowledged >= count) resolve();
    this.#awaited = this.#awaited.filter(({ count }) => this.#acknowledged < count);
  }
}

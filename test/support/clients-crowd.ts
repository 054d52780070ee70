import type { ManagerOptions, SocketOptions } from 'socket.io-client';
import { type Act, LedgerClient, sumOf, type Totals } from './clients.js';

/** Numbers from 0 up to 1, the same for the same seed: mulberry32, https://github.com/cprosche/mulberry32 (public domain). */
export type Random = () => number;

export function randomFrom(seed: number): Random {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** From 0 to `below` - 1. */
export function integer(random: Random, below: number): number {
  return Math.floor(random() * below);
}

/** Operations that a client sends at once, at most. */
const BURST_MAX = 6;

/** Tabs that come back fast, so that a test does not wait for them. */
export const HASTY = { reconnectionDelay: 20, reconnectionDelayMax: 100 };

/**
 * Actors who like, unlike and view posts at random: each sends a burst, and the next when all of it is acknowledged.
 * One in ten stays on long-polling, and one in ten starts there and is upgraded, as stock clients do.
 */
export class Crowd {
  readonly clients: readonly LedgerClient[];
  #acting = false;
  #acknowledged = 0;
  #awaited: { readonly count: number; readonly resolve: () => void } | null = null;

  constructor(
    url: string,
    size: number,
    readonly posts: readonly string[],
    private readonly random: Random,
    options: Partial<ManagerOptions & SocketOptions> = HASTY,
  ) {
    const transports = (i: number): string[] =>
      i % 10 === 0 ? ['polling'] : i % 10 === 1 ? ['polling', 'websocket'] : ['websocket'];
    this.clients = Array.from(
      { length: size },
      (_, i) => new LedgerClient(url, `actor-${i}`, { transports: transports(i), ...options }),
    );
    for (const client of this.clients) {
      client.onAcknowledged = () => {
        this.#count();
        if (this.#acting && client.unacknowledged === 0) this.#burst(client);
      };
    }
  }

  act(): void {
    this.#acting = true;
    for (const client of this.clients) if (client.unacknowledged === 0) this.#burst(client);
  }

  rest(): void {
    this.#acting = false;
  }

  /** Resolves after so many more acknowledgements. */
  acknowledgements(count: number): Promise<void> {
    return new Promise((resolve) => (this.#awaited = { count: this.#acknowledged + count, resolve }));
  }

  async settled(): Promise<void> {
    await Promise.all(this.clients.map((client) => client.settled()));
  }

  get asked(): Record<string, Totals> {
    return sumOf(
      this.clients.map(({ asked }) => asked),
      this.posts,
    );
  }

  get acknowledged(): Record<string, Totals> {
    return sumOf(
      this.clients.map(({ acknowledged }) => acknowledged),
      this.posts,
    );
  }

  #burst(client: LedgerClient): void {
    for (let left = 1 + integer(this.random, BURST_MAX); left > 0; left--) client.act(this.#any());
  }

  #any(): Act {
    const post = this.posts[integer(this.random, this.posts.length)]!;
    const event = (['like', 'unlike', 'view', 'add'] as const)[integer(this.random, 4)]!;
    if (event !== 'add') return { event, post };
    return { event, post, metric: 'views', by: 1 + integer(this.random, 1000) };
  }

  #count(): void {
    this.#acknowledged += 1;
    if (this.#awaited === null || this.#acknowledged < this.#awaited.count) return;
    this.#awaited.resolve();
    this.#awaited = null;
  }
}

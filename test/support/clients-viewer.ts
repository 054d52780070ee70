import type { ManagerOptions, SocketOptions } from 'socket.io-client';
import type { ByeEvent, Update } from '../../src/protocol/messages.js';
import { type Client, connect, type Totals, parseTotals } from './clients.js';

/** The wait after an error without `retryAfterMs`. */
const RETRY_MS = 100;

/** A viewer that follows the protocol: it subscribes at each connection, and orders updates by epoch and version. */
export class TestViewer {
  readonly socket: Client;
  readonly latest = new Map<string, Update>();
  readonly byes: ByeEvent[] = [];
  /** The totals that it showed when the `bye` arrived. */
  totalsAtBye: Record<string, Totals> | null = null;
  /** Keyed by post: the first snapshot of this connection plus all `d` since. */
  readonly #summed = new Map<string, { likes: number; views: number }>();
  readonly #waiting = new Map<() => boolean, { resolve: () => void; reject: (reason: Error) => void }>();
  /** Whether the current connection is subscribed. */
  isSubscribed = false;

  constructor(
    url: string,
    readonly posts: readonly string[],
    options: Partial<ManagerOptions & SocketOptions> = {},
  ) {
    this.socket = connect(url, {}, options);
    this.socket.on('connect', () => this.#subscribe());
    this.socket.on('disconnect', () => (this.isSubscribed = false));
    this.socket.on('bye', (bye) => {
      this.byes.push(bye);
      this.totalsAtBye = this.totals;
    });
    this.socket.on('counts', (updates) => {
      for (const update of updates) this.#applyUpdate(update);
      this.#resolveWaiting();
    });
  }

  /** Resolves as soon as the condition holds; checked after every frame and snapshot. */
  until(condition: () => boolean): Promise<void> {
    if (condition()) return Promise.resolve();
    return new Promise((resolve, reject) => this.#waiting.set(condition, { resolve, reject }));
  }

  untilSubscribed(): Promise<void> {
    return this.until(() => this.isSubscribed);
  }

  /** Resolves when the viewer shows exactly these totals. */
  untilShows(expected: Readonly<Record<string, Totals>>): Promise<void> {
    return this.until(() => this.#shows(expected));
  }

  viewerCount(post: string): number | undefined {
    return this.latest.get(post)?.live;
  }

  /** The totals that it shows. */
  get totals(): Record<string, Totals> {
    return Object.fromEntries([...this.latest].map(([post, update]) => [post, parseTotals(update)]));
  }

  /** The sums of the first snapshot and all `d`. */
  get summed(): Record<string, Totals> {
    return Object.fromEntries(this.#summed);
  }

  #shows(expected: Readonly<Record<string, Totals>>): boolean {
    return Object.entries(expected).every(([post, { likes, views }]) => {
      const update = this.latest.get(post);
      return update?.['likes'] === likes && update['views'] === views;
    });
  }

  /** Uses a callback, because a frame right behind the answer would be handled before a promise resolves. */
  #subscribe(): void {
    this.socket.emit('subscribe', { posts: this.posts }, (answer) => {
      if (!answer.ok) {
        for (const { reject } of this.#waiting.values()) reject(new Error(answer.error.message));
        if (answer.error.retryable) setTimeout(() => this.#subscribe(), answer.error.retryAfterMs ?? RETRY_MS);
        return;
      }
      for (const update of answer.counts) {
        this.latest.set(update.post, update);
        this.#summed.set(update.post, { ...parseTotals(update) });
      }
      this.isSubscribed = true;
      this.#resolveWaiting();
    });
  }

  #applyUpdate(update: Update): void {
    const previous = this.latest.get(update.post);
    const isOld = previous?.e === update.e && update.v <= previous.v;
    this.latest.set(update.post, isOld ? { ...previous, live: update.live } : update);
    const sum = this.#summed.get(update.post);
    if (sum === undefined) return;
    sum.likes += update.d?.['likes'] ?? 0;
    sum.views += update.d?.['views'] ?? 0;
  }

  #resolveWaiting(): void {
    for (const [condition, { resolve }] of this.#waiting) {
      if (!condition()) continue;
      this.#waiting.delete(condition);
      resolve();
    }
  }
}

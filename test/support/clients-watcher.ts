import type { ManagerOptions, SocketOptions } from 'socket.io-client';
import type { ByeEvent, Update } from '../../src/protocol/messages.js';
import { type Client, connect, type Totals, parseTotals } from './clients.js';

/** A viewer that goes by the protocol: it subscribes whenever it connects, and takes updates by epoch and version. */
export class TestViewer {
  readonly socket: Client;
  readonly latest = new Map<string, Update>();
  readonly byes: ByeEvent[] = [];
  /** What it showed when it was told to leave. */
  totalsAtBye: Record<string, Totals> | null = null;
  /** The first snapshot of this connection plus all `d` since, by post. */
  readonly #summed = new Map<string, { likes: number; views: number }>();
  readonly #waiting = new Map<() => boolean, { resolve: () => void; reject: (reason: Error) => void }>();
  /** Of the last connection. */
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
      for (const update of updates) this.#update(update);
      this.#check();
    });
  }

  /** Resolves as soon as it is true, which is looked at after every frame and snapshot. */
  until(condition: () => boolean): Promise<void> {
    if (condition()) return Promise.resolve();
    return new Promise((resolve, reject) => this.#waiting.set(condition, { resolve, reject }));
  }

  untilSubscribed(): Promise<void> {
    return this.until(() => this.isSubscribed);
  }

  /** Resolves when it shows exactly these totals. */
  untilShows(expected: Readonly<Record<string, Totals>>): Promise<void> {
    return this.until(() => this.#shows(expected));
  }

  viewerCount(post: string): number | undefined {
    return this.latest.get(post)?.live;
  }

  /** What it shows. */
  get totals(): Record<string, Totals> {
    return Object.fromEntries([...this.latest].map(([post, update]) => [post, parseTotals(update)]));
  }

  /** What it would show had it only ever added up what changed. */
  get summed(): Record<string, Totals> {
    return Object.fromEntries(this.#summed);
  }

  #shows(expected: Readonly<Record<string, Totals>>): boolean {
    return Object.entries(expected).every(([post, { likes, views }]) => {
      const update = this.latest.get(post);
      return update?.['likes'] === likes && update['views'] === views;
    });
  }

  /** With a callback: after a promise, a frame that came right behind the answer could be taken first. */
  #subscribe(): void {
    this.socket.emit('subscribe', { posts: this.posts }, (answer) => {
      if (!answer.ok) {
        for (const { reject } of this.#waiting.values()) reject(new Error(answer.error.message));
        return;
      }
      for (const update of answer.counts) {
        this.latest.set(update.post, update);
        this.#summed.set(update.post, { ...parseTotals(update) });
      }
      this.isSubscribed = true;
      this.#check();
    });
  }

  #update(update: Update): void {
    const known = this.latest.get(update.post);
    const old = known?.e === update.e && update.v <= known.v;
    this.latest.set(update.post, old ? { ...known, live: update.live } : update);
    const sum = this.#summed.get(update.post);
    if (sum === undefined) return;
    sum.likes += update.d?.['likes'] ?? 0;
    sum.views += update.d?.['views'] ?? 0;
  }

  #check(): void {
    for (const [condition, { resolve }] of this.#waiting) {
      if (!condition()) continue;
      this.#waiting.delete(condition);
      resolve();
    }
  }
}

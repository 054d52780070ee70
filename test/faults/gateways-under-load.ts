import { isDeepStrictEqual } from 'node:util';
import { expect } from '@jest/globals';
import { type Totals, totalsAt } from '../support/clients.js';
import { Crowd, HASTY } from '../support/clients-crowd.js';
import { Watcher } from '../support/clients-watcher.js';
import type { Random } from '../support/random.js';
import { until } from '../support/until.js';

/** Viewers are told within a tick; those that missed it in a fault, when the gateway reads again. */
const SETTLED_MS = 15_000;

/** Gateways that share a store, with a crowd spread over them and at each one a viewer of all posts. */
export class GatewaysUnderLoad {
  readonly crowd: Crowd;
  readonly watchers: readonly Watcher[];
  #disconnects = 0;

  constructor(
    private readonly urls: readonly string[],
    private readonly posts: readonly string[],
    sockets: number,
    random: Random,
  ) {
    this.crowd = new Crowd(urls, sockets, posts, random);
    this.watchers = urls.map((url) => new Watcher(url, posts, HASTY));
    for (const { socket } of [...this.crowd.clients, ...this.watchers]) {
      socket.on('disconnect', () => (this.#disconnects += 1));
    }
  }

  /** What the clients noticed of a fault, but for the pause. */
  get errors(): { readonly refusals: number; readonly disconnects: number } {
    const refusals = this.crowd.clients.reduce((sum, client) => sum + client.refusals, 0);
    return { refusals, disconnects: this.#disconnects };
  }

  /** Fails if a newcomer at any gateway is shown fewer views than were acknowledged before it came. */
  async expectNothingLost(label: object): Promise<void> {
    const { acknowledged } = this.crowd;
    for (const url of this.urls) {
      const shown = await totalsAt(url, this.posts);
      const lost = this.posts.filter((post) => shown[post]!.views < acknowledged[post]!.views);
      expect({ ...label, url, lost }).toEqual({ ...label, url, lost: [] });
    }
  }

  /** Lets the crowd rest, and fails if not all of them are shown exactly what was asked when all is acknowledged. */
  async expectExact(label: object): Promise<void> {
    this.crowd.rest();
    await this.crowd.settled();
    const { asked } = this.crowd;
    const expected = this.urls.map(() => asked);
    const newcomers = (): Promise<Record<string, Totals>[]> =>
      Promise.all(this.urls.map((url) => totalsAt(url, this.posts)));
    await until(async () => isDeepStrictEqual(await newcomers(), expected), 'exact', SETTLED_MS).catch(() => undefined);
    expect({ ...label, newcomers: await newcomers() }).toEqual({ ...label, newcomers: expected });

    const summed = (): Record<string, Totals>[] => this.watchers.map((watcher) => watcher.summed);
    await until(() => isDeepStrictEqual(summed(), expected), 'shown', SETTLED_MS).catch(() => undefined);
    expect({ ...label, summed: summed() }).toEqual({ ...label, summed: expected });
    expect({ ...label, shown: this.watchers.map(({ totals }) => totals) }).toEqual({ ...label, shown: expected });
  }
}

import { isDeepStrictEqual } from 'node:util';
import { expect } from '@jest/globals';
import { type Totals, readTotals } from '../support/clients.js';
import { Crowd, FAST_RECONNECT } from '../support/clients-crowd.js';
import { TestViewer } from '../support/clients-viewer.js';
import type { Random } from '../support/random.js';
import { until } from '../support/until.js';

/** Gateways that share a store, with a crowd spread over them and at each one a viewer of all posts. */
export class GatewaysUnderLoad {
  readonly crowd: Crowd;
  readonly watchers: readonly TestViewer[];
  #disconnects = 0;

  constructor(
    private readonly urls: readonly string[],
    private readonly posts: readonly string[],
    sockets: number,
    random: Random,
  ) {
    this.crowd = new Crowd(urls, sockets, posts, random);
    this.watchers = urls.map((url) => new TestViewer(url, posts, FAST_RECONNECT));
    for (const { socket } of [...this.crowd.clients, ...this.watchers]) {
      socket.on('disconnect', () => (this.#disconnects += 1));
    }
  }

  /** What the clients noticed of a fault, but for the pause. */
  get errors(): { readonly refusals: number; readonly disconnects: number } {
    const refusals = this.crowd.clients.reduce((sum, client) => sum + client.rejections, 0);
    return { refusals, disconnects: this.#disconnects };
  }

  /** Fails if a newcomer at any gateway is shown fewer views than were acknowledged before it came. */
  async expectNothingLost(label: object): Promise<void> {
    const { acknowledged } = this.crowd;
    for (const shown of await this.#newcomers()) {
      const lost = this.posts.filter((post) => shown[post]!.views < acknowledged[post]!.views);
      expect({ ...label, lost }).toEqual({ ...label, lost: [] });
    }
  }

  /** Lets the crowd rest, and fails if not all of them are shown exactly what was asked when all is acknowledged. */
  async expectExact(label: object): Promise<void> {
    this.crowd.stop();
    await this.crowd.untilAcknowledged();
    const { sent } = this.crowd;
    const expected = this.urls.map(() => sent);
    const newcomers = await eventually(expected, () => this.#newcomers());
    expect({ ...label, newcomers }).toEqual({ ...label, newcomers: expected });
    const summed = await eventually(expected, () => this.watchers.map((watcher) => watcher.summed));
    expect({ ...label, summed }).toEqual({ ...label, summed: expected });
    expect({ ...label, shown: this.watchers.map(({ totals }) => totals) }).toEqual({ ...label, shown: expected });
  }

  /** What a newcomer at each gateway is shown. While the store is away it is refused, and tries again. */
  async #newcomers(): Promise<Record<string, Totals>[]> {
    const shownAt = async (url: string): Promise<Record<string, Totals>> => {
      let shown: Record<string, Totals> | null = null;
      const isShown = async (): Promise<boolean> =>
        (shown = await readTotals(url, this.posts).catch(() => null)) !== null;
      await until(isShown, `a newcomer at ${url} is shown the counts`);
      return shown!;
    };
    return await Promise.all(this.urls.map(shownAt));
  }
}

/** The value as soon as it is as expected, else as it is in the end: a comparison then shows the difference. */
async function eventually<T>(expected: T, read: () => Promise<T> | T): Promise<T> {
  let last = await read();
  const isReached = async (): Promise<boolean> => isDeepStrictEqual((last = await read()), expected);
  await until(isReached, 'as expected').catch(() => undefined);
  return last;
}

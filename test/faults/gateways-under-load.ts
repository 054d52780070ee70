import { isDeepStrictEqual } from 'node:util';
import { expect } from '@jest/globals';
import type { ManagerOptions, SocketOptions } from 'socket.io-client';
import { type Totals, readTotals } from '../support/clients.js';
import { Crowd, FAST_RECONNECT } from '../support/clients-crowd.js';
import { TestViewer } from '../support/clients-viewer.js';
import type { Random } from '../support/random.js';
import { until } from '../support/until.js';

/** Most of these tests last as long as their faults, so that a crowd without rests would send far more than they need. */
const REST_MS = 60;

/** Gateways that share a store, a crowd that acts on all of them, and a viewer of all posts at each. */
export class GatewaysUnderLoad {
  readonly crowd: Crowd;
  readonly viewers: readonly TestViewer[];
  #disconnects = 0;

  constructor(
    private readonly urls: readonly string[],
    private readonly posts: readonly string[],
    sockets: number,
    random: Random,
    options: Partial<ManagerOptions & SocketOptions> = FAST_RECONNECT,
  ) {
    this.crowd = new Crowd(urls, sockets, posts, random, options);
    this.crowd.restMs = REST_MS;
    this.viewers = urls.map((url) => new TestViewer(url, posts, FAST_RECONNECT));
    for (const { socket } of [...this.crowd.clients, ...this.viewers]) {
      socket.on('disconnect', () => (this.#disconnects += 1));
    }
  }

  /** Effects of a fault on the clients, apart from a pause. */
  get errors(): { readonly rejections: number; readonly disconnects: number } {
    const rejections = this.crowd.clients.reduce((sum, client) => sum + client.rejections, 0);
    return { rejections, disconnects: this.#disconnects };
  }

  /** Fails if a new viewer of any gateway gets fewer views than were acknowledged before it came. */
  async expectNothingLost(label: object): Promise<void> {
    const { acknowledged } = this.crowd;
    for (const totals of await this.#readByNewViewers()) {
      const lost = this.posts.filter((post) => totals[post]!.views < acknowledged[post]!.views);
      expect({ ...label, lost }).toEqual({ ...label, lost: [] });
    }
  }

  /** Stops the crowd. Fails unless all viewers get exactly what was sent, once all of it is acknowledged. */
  async expectExact(label: object): Promise<void> {
    this.crowd.stop();
    await this.crowd.untilAcknowledged();
    const { sent } = this.crowd;
    const expected = this.urls.map(() => sent);
    const byNewViewers = await eventually(expected, () => this.#readByNewViewers());
    expect({ ...label, byNewViewers }).toEqual({ ...label, byNewViewers: expected });
    const summed = await eventually(expected, () => this.viewers.map((viewer) => viewer.summed));
    expect({ ...label, summed }).toEqual({ ...label, summed: expected });
    expect({ ...label, shown: this.viewers.map(({ totals }) => totals) }).toEqual({ ...label, shown: expected });
  }

  /** Reads the totals as a new viewer of each gateway. It is rejected while the store is down, and retries. */
  async #readByNewViewers(): Promise<Record<string, Totals>[]> {
    const readAt = async (url: string): Promise<Record<string, Totals>> => {
      let totals: Record<string, Totals> | null = null;
      const isRead = async (): Promise<boolean> =>
        (totals = await readTotals(url, this.posts).catch(() => null)) !== null;
      await until(isRead, `a new viewer at ${url} gets the counts`);
      return totals!;
    };
    return await Promise.all(this.urls.map(readAt));
  }
}

/** @returns the value once it is as expected; after the time limit the last value, for a comparison */
async function eventually<T>(expected: T, read: () => Promise<T> | T): Promise<T> {
  let last = await read();
  const isReached = async (): Promise<boolean> => isDeepStrictEqual((last = await read()), expected);
  await until(isReached, 'as expected').catch(() => undefined);
  return last;
}

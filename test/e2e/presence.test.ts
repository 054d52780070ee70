import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { EventSource } from 'eventsource';
import { closeClients, granted } from '../support/clients.js';
import { Watcher } from '../support/clients-watcher.js';
import { startGateway, stopAll } from '../support/gateway-process.js';
import { RawSocket } from '../support/raw-socket.js';

/** Engine.IO's ping interval and timeout, as the gateway sets them. */
const VANISHED_AFTER_MS = 15_000 + 10_000;
const FALLS_WITHIN_MS = 1_000;
const LIMIT_MS = 60_000;

describe('the number of viewers now', () => {
  let url: string;
  /** Watches a post whose other viewer vanished as the tests began: they go on while the gateway finds out. */
  let witness: Watcher;
  let vanished: RawSocket;
  let vanishedAtMs: number;

  beforeAll(async () => {
    ({ url } = await startGateway());
    witness = await watching('left');
    vanished = await RawSocket.connect(url);
    vanished.answersPings = false;
    vanished.emit('subscribe', { posts: ['left'] });
    await witness.until(() => witness.live('left') === 2);
    vanishedAtMs = performance.now();
  }, LIMIT_MS);

  afterAll(async () => {
    vanished.destroy();
    await closeClients();
    await stopAll();
  });

  it('rises with each viewer, and falls within a second of a closed tab', async () => {
    const first = await watching('stage');
    const others: Watcher[] = [];
    for (const transport of ['websocket', 'polling', 'websocket', 'polling']) {
      others.push(await watching('stage', [transport]));
      await first.until(() => first.live('stage') === 1 + others.length);
    }
    for (let left = others.length; left > 0; left--) {
      const closedAtMs = performance.now();
      others.pop()!.socket.close();
      await first.until(() => first.live('stage') === left);
      expect(performance.now() - closedAtMs).toBeLessThan(FALLS_WITHIN_MS);
    }
  });

  it('falls within a second of a tab whose connection breaks without a word', async () => {
    const first = await watching('broken');
    const second = await RawSocket.connect(url);
    second.emit('subscribe', { posts: ['broken'] });
    await first.until(() => first.live('broken') === 2);
    const brokenAtMs = performance.now();
    second.socket.resetAndDestroy();
    await first.until(() => first.live('broken') === 1);
    expect(performance.now() - brokenAtMs).toBeLessThan(FALLS_WITHIN_MS);
  });

  it('is told in the first snapshot, the newcomer included', async () => {
    await watching('hall');
    const second = await watching('hall');
    expect(second.live('hall')).toBe(2);
  });

  it('counts a connection once for each post, however often it subscribes, and not after it unsubscribed', async () => {
    const first = await watching('desk');
    const { socket } = await watching('other');
    const subscribe = async (): Promise<unknown> =>
      granted(await socket.emitWithAck('subscribe', { posts: ['desk', 'desk'] })).counts[0]?.live;
    expect(await subscribe()).toBe(2);
    expect(await subscribe()).toBe(2);
    granted(await socket.emitWithAck('unsubscribe', { posts: ['desk'] }));
    await first.until(() => first.live('desk') === 1);
  });

  it('counts event streams too', async () => {
    const first = await watching('radio');
    const streams = [0, 1].map(() => new EventSource(`${url}/v1/stream?posts=radio`));
    await first.until(() => first.live('radio') === 3);
    for (const [i, stream] of streams.entries()) {
      const closedAtMs = performance.now();
      stream.close();
      await first.until(() => first.live('radio') === 2 - i);
      expect(performance.now() - closedAtMs).toBeLessThan(FALLS_WITHIN_MS);
    }
  });

  // The last, for the others run while it waits.
  it(
    `loses a viewer that vanished without closing its connection within ${VANISHED_AFTER_MS / 1000} s`,
    async () => {
      await witness.until(() => witness.live('left') === 1);
      expect(performance.now() - vanishedAtMs).toBeLessThan(VANISHED_AFTER_MS + FALLS_WITHIN_MS);
    },
    LIMIT_MS,
  );

  async function watching(post: string, transports = ['websocket']): Promise<Watcher> {
    const watcher = new Watcher(url, [post], { transports });
    await watcher.untilSubscribed();
    return watcher;
  }
});

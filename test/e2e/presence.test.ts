import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { EventSource } from 'eventsource';
import { closeClients, expectOk } from '../support/clients.js';
import { TestViewer } from '../support/clients-viewer.js';
import { startGateway, stopAll } from '../support/gateway-process.js';
import { RawSocket } from '../support/raw-socket.js';
import { until } from '../support/until.js';

/** The ping interval and timeout of Engine.IO, 25 s, pass ten times as fast. */
const FAST = { timeScale: 0.1 };

describe('the number of viewers now', () => {
  let url: string;

  beforeAll(async () => {
    ({ url } = await startGateway());
  });

  afterAll(async () => {
    await closeClients();
    await stopAll();
  });

  it('the number of viewers rises with each viewer and falls with each closed tab', async () => {
    const first = await watching('stage');
    const others: TestViewer[] = [];
    for (const transport of ['websocket', 'polling', 'websocket', 'polling']) {
      others.push(await watching('stage', [transport]));
      await first.until(() => first.viewerCount('stage') === 1 + others.length);
    }
    for (let left = others.length; left > 0; left--) {
      others.pop()!.socket.close();
      await first.until(() => first.viewerCount('stage') === left);
    }
  });

  it('the number of viewers falls when a connection breaks without a close', async () => {
    const first = await watching('broken');
    const second = await RawSocket.connect(url);
    second.emit('subscribe', { posts: ['broken'] });
    await first.until(() => first.viewerCount('broken') === 2);
    second.socket.resetAndDestroy();
    await first.until(() => first.viewerCount('broken') === 1);
  });

  it('the number of viewers is in the first snapshot, which includes the new viewer', async () => {
    await watching('hall');
    const second = await watching('hall');
    expect(second.viewerCount('hall')).toBe(2);
  });

  it('a connection counts once a post, even if it subscribes again, and not after it unsubscribed', async () => {
    const first = await watching('desk');
    const { socket } = await watching('other');
    const subscribe = async (): Promise<unknown> =>
      expectOk(await socket.emitWithAck('subscribe', { posts: ['desk', 'desk'] })).counts[0]?.live;
    expect(await subscribe()).toBe(2);
    expect(await subscribe()).toBe(2);
    expectOk(await socket.emitWithAck('unsubscribe', { posts: ['desk'] }));
    await first.until(() => first.viewerCount('desk') === 1);
  });

  it('event streams count as viewers', async () => {
    const first = await watching('radio');
    const streams = [0, 1].map(() => new EventSource(`${url}/v1/stream?posts=radio`));
    await first.until(() => first.viewerCount('radio') === 3);
    for (const [i, stream] of streams.entries()) {
      stream.close();
      await first.until(() => first.viewerCount('radio') === 2 - i);
    }
  });

  it('the number of viewers falls when a viewer answers no ping without closing its connection', async () => {
    const gateway = await startGateway({}, FAST);
    const live = async (): Promise<number> => {
      const response = await fetch(`${gateway.url}/v1/left/live`);
      return ((await response.json()) as { count: number }).count;
    };
    const vanished = await RawSocket.connect(gateway.url);
    vanished.answersPings = false;
    vanished.emit('subscribe', { posts: ['left'] });
    await until(async () => (await live()) === 1, 'the viewer is counted');
    await until(async () => (await live()) === 0, 'the viewer is lost');
    vanished.destroy();
  });

  async function watching(post: string, transports = ['websocket']): Promise<TestViewer> {
    const watcher = new TestViewer(url, [post], { transports });
    await watcher.untilSubscribed();
    return watcher;
  }
});

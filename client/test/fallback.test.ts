import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import { type GatewayProcess, startGateway, stopAll } from '../../test/support/gateway-process.js';
import { until } from '../../test/support/until.js';
import { createLiveCounts } from '../src/live-counts-http.js';
import { closeClients, connect, reached, PostWatcher } from './clients.js';
import { type SocketlessProxy, startSocketlessProxy } from './without-sockets.js';

let gateway: GatewayProcess;
let proxy: SocketlessProxy;

beforeAll(async () => {
  gateway = await startGateway();
  proxy = await startSocketlessProxy(gateway.port);
});

afterEach(closeClients);
afterAll(async () => {
  await proxy.close();
  await stopAll();
});

async function viewers(post: string): Promise<number> {
  const answer = await fetch(`${gateway.url}/v1/${post}/live`);
  return ((await answer.json()) as { count: number }).count;
}

describe('where no WebSocket gets through', () => {
  test('a client without WebSocket watches by Server-Sent Events and acts by HTTP, until a socket gets through', async () => {
    const live = connect(proxy.url, { actor: 'ann' });
    const seen = new PostWatcher(live, 'blocked');
    await reached(live, 'synced');
    expect(proxy.upgrades).toBeGreaterThan(0);

    await live.post('blocked').like();
    await live.post('blocked').add('views', 3);
    const other = connect(gateway.url, { actor: 'bob' });
    await other.post('blocked').like();
    await seen.until(({ counts }) => counts.likes === 2 && counts.views === 3);
    expect(seen.last!.mine).toEqual(['likes']);

    proxy.allowSockets();
    const seenByOther = new PostWatcher(other, 'blocked');
    await live.post('blocked').view();
    // The stream is a viewer until the socket replaces it; after that `mine` comes from the gateway.
    await seenByOther.until(({ counts }) => counts.live === 2 && counts.views === 4);
    const before = proxy.upgrades;
    await until(() => proxy.upgrades > before, 'another try with a socket');
    await connect(gateway.url, { actor: 'ann' }).post('blocked').unlike();
    await seen.until(({ counts, mine }) => counts.likes === 1 && mine.length === 0);
  });

  test('the client for HTTP only watches and acts as the same actor', async () => {
    const live = createLiveCounts(gateway.url, { actor: 'zoë' });
    const seen = new PostWatcher(live, 'http-only');
    await live.post('http-only').like();
    new PostWatcher(live, 'http-more');
    await reached(live, 'synced');
    await seen.until(({ counts }) => counts.likes === 1);
    const tab = connect(gateway.url, { actor: 'zoë' });
    const seenOnSocket = new PostWatcher(tab, 'http-only');
    expect((await seenOnSocket.until(() => true)).mine).toEqual(['likes']);
    live.close();
    await until(async () => (await viewers('http-only')) === 1, 'the stream has ended');
  });
});

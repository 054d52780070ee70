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

  test('a like that was made elsewhere, before or meanwhile, is taken back by one click over HTTP', async () => {
    const tab = connect(gateway.url, { actor: 'cat' });
    await tab.post('elsewhere').like();
    const live = createLiveCounts(gateway.url, { actor: 'cat' });
    const seen = new PostWatcher(live, 'elsewhere');
    expect(await seen.until(() => true)).toMatchObject({ mine: ['likes'], counts: { likes: 1 } });
    await live.post('elsewhere').unlike();
    expect(seen.last).toMatchObject({ mine: [], counts: { likes: 0 } });
    await tab.post('elsewhere').like();
    await seen.until(({ mine, counts }) => mine.length === 1 && counts.likes === 1);
    await live.post('elsewhere').unlike();
    await seen.until(({ mine, counts }) => mine.length === 0 && counts.likes === 0);
    // No number went up and down again.
    expect(seen.changes.map(({ counts }) => counts.likes).filter((likes, n, all) => likes !== all[n - 1])).toEqual([
      1, 0, 1, 0,
    ]);
    live.close();
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

import { once } from 'node:events';
import type { AddressInfo, Socket } from 'node:net';
import { afterAll, afterEach, beforeAll, expect, test } from '@jest/globals';
import { type WebSocket, WebSocketServer } from 'ws';
import { closeClients, connect, PostWatcher } from './clients.js';

let server: WebSocketServer;

beforeAll(async () => {
  server = new WebSocketServer({ port: 0, host: '127.0.0.1' });
  server.on('connection', (webSocket, { socket }) => serve(webSocket, socket));
  await once(server, 'listening');
});
afterEach(closeClients);
afterAll(() => {
  for (const webSocket of server.clients) webSocket.terminate();
  server.close();
});

const OPEN = '0{"sid":"a","upgrades":[],"pingInterval":25000,"pingTimeout":20000,"maxPayload":16384}';
const UPDATE = { post: '42', e: 'local.1.a', v: 1, d: {}, likes: 1, views: 0 };

/** A gateway that writes the acknowledgement of `subscribe` and a frame after it at once, so that both come with one read. */
function serve(webSocket: WebSocket, tcp: Socket): void {
  webSocket.send(OPEN);
  webSocket.on('message', (data: Buffer) => {
    const packet = data.toString();
    if (packet.startsWith('40')) webSocket.send('40{"sid":"b"}');
    const id = /^42(\d+)\["subscribe"/.exec(packet)?.[1];
    if (id === undefined) return;
    const counts = [{ ...UPDATE, live: 1, mine: ['likes'] }];
    tcp.cork();
    webSocket.send(`43${id}${JSON.stringify([{ ok: true, tickMs: 100, counts }])}`);
    webSocket.send(`42${JSON.stringify(['counts', [{ ...UPDATE, live: 2 }]])}`);
    process.nextTick(() => tcp.uncork());
  });
}

test('a frame that arrives together with the acknowledgement of subscribe is shown after it', async () => {
  const live = connect(`http://127.0.0.1:${(server.address() as AddressInfo).port}`, { actor: 'ann' });
  const seen = new PostWatcher(live, '42');
  await seen.until(({ counts }) => counts.live === 2);
  expect(seen.changes.map(({ mine, counts }) => [mine, counts.live])).toEqual([
    [['likes'], 1],
    [['likes'], 2],
  ]);
});

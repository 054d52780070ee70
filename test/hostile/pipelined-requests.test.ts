import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { afterAll, beforeAll, expect, it } from '@jest/globals';
import WebSocket from 'ws';
import { type GatewayProcess, startGateway, stopAll } from '../support/gateway-process.js';
import { readMetric } from '../support/metrics.js';
import { until } from '../support/until.js';

/** More requests than an address may start at once. */
const HANDSHAKES = 230;
const AT_ONCE = 200;
const PIPELINED = 200;
const POLL = '/socket.io/?EIO=4&transport=polling';
const SITE = { Host: 'rebound.test', Origin: 'http://rebound.test', 'X-Forwarded-For': '203.0.113.9' };

let gateway: GatewayProcess;

beforeAll(async () => {
  gateway = await startGateway({ TRUST_PROXY: 'loopback' });
});

afterAll(stopAll);

async function connected(): Promise<Socket> {
  const socket = connect(gateway.port, '127.0.0.1');
  socket.on('error', () => undefined).resume();
  await once(socket, 'connect');
  return socket;
}

async function isAlive(): Promise<boolean> {
  return (await fetch(`${gateway.url}/healthz`)).status === 200;
}

it('requests for WebSockets may be reset while they wait', async () => {
  const address = { 'X-Forwarded-For': '203.0.113.1' };
  let answered = 0;
  const begun = Array.from({ length: HANDSHAKES }, () =>
    fetch(gateway.url + POLL, { headers: address }).then(() => (answered += 1)),
  );
  await until(() => answered >= AT_ONCE, 'the others wait');
  const upgrade =
    `GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: 127.0.0.1:${gateway.port}\r\nX-Forwarded-For: 203.0.113.1\r\n` +
    'Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n';
  const sockets = await Promise.all(Array.from({ length: 20 }, connected));
  for (const socket of sockets) socket.write(upgrade);
  // Reset one after the other, so that some are reset while they wait.
  for (const socket of sockets) {
    await new Promise((resolve) => setTimeout(resolve, 10));
    socket.resetAndDestroy();
  }
  await Promise.allSettled(begun);
  expect(await isAlive()).toBe(true);
});

it('files of pipelined requests are closed with their connection', async () => {
  expect((await fetch(`${gateway.url}/client/tallycast.js`)).status).toBe(200);
  const before = await readMetric(gateway.url, 'process_open_fds');
  const sockets = await Promise.all(Array.from({ length: 5 }, connected));
  const request = `GET /client/tallycast.js HTTP/1.1\r\nHost: 127.0.0.1:${gateway.port}\r\n\r\n`;
  for (const socket of sockets) socket.pause().write(request.repeat(PIPELINED));
  await until(() => sockets.every(({ writableLength }) => writableLength === 0), 'all requests are sent');
  expect(await isAlive()).toBe(true);
  for (const socket of sockets) socket.destroy();
  await until(async () => (await readMetric(gateway.url, 'process_open_fds')) <= before + 10, 'all files are closed');
});

it('every pipelined request gets a response', async () => {
  const socket = await connected();
  let answers = '';
  socket.on('data', (data) => (answers += data.toString('latin1')));
  socket.write(`GET /v1/a/views HTTP/1.1\r\nHost: 127.0.0.1:${gateway.port}\r\n\r\n`.repeat(PIPELINED));
  await until(() => answers.split('HTTP/1.1 200 OK').length - 1 === PIPELINED, 'all requests have a response');
  socket.destroy();
});

it('a page of a rejected origin cannot act with the session id of another connection', async () => {
  const webSocket = new WebSocket(`ws://127.0.0.1:${gateway.port}/socket.io/?EIO=4&transport=websocket`, {
    headers: SITE,
  });
  const [open] = (await once(webSocket, 'message')) as [Buffer];
  const own = (JSON.parse(open.toString().slice(1)) as { sid: string }).sid;
  const begun = await send('GET', POLL, undefined);
  const other = (JSON.parse(begun.slice(begun.indexOf('{'))) as { sid: string }).sid;
  expect(await send('POST', `${POLL}&sid=${own}&sid=${other}`, '40{"actor":"victim"}')).toContain(' 403 ');
  webSocket.terminate();
});

/** Sends a request like a browser: reads of its own host without an origin. @returns the whole response */
async function send(method: 'GET' | 'POST', path: string, body: string | undefined): Promise<string> {
  const socket = await connected();
  let answer = '';
  socket.on('data', (data) => (answer += data.toString()));
  const origin = method === 'POST' ? `Origin: ${SITE.Origin}\r\n` : '';
  const length = body === undefined ? '' : `Content-Length: ${body.length}\r\n`;
  socket.write(
    `${method} ${path} HTTP/1.1\r\nHost: ${SITE.Host}\r\n${origin}${length}Connection: close\r\n\r\n${body ?? ''}`,
  );
  await once(socket, 'close');
  return answer;
}

import { connect } from 'node:net';
import { afterAll, beforeAll, expect, it } from '@jest/globals';
import { type GatewayProcess, startGateway, stopAll } from '../support/gateway-process.js';
import { readMetrics } from '../support/metrics.js';
import { requestRaw } from '../support/raw-request.js';

/** More than an address may send at once; time passes a hundred times slower, so that the limit does not refill. */
const REQUESTS = 2_200;
const PIPELINED = 200;
const TIME_SCALE = 100;
const PAGE = 'https://page.test';

let gateway: GatewayProcess;

beforeAll(async () => {
  gateway = await startGateway({ TRUST_PROXY: 'loopback', ALLOWED_ORIGINS: PAGE }, { timeScale: TIME_SCALE });
});

afterAll(stopAll);

/** @returns all responses until the gateway ended the connection or every request had one */
async function send(path: string, address: string, method = 'GET', more: readonly string[] = []): Promise<string> {
  const socket = connect(gateway.port, '127.0.0.1');
  let answers = '';
  socket.on('error', () => undefined).on('data', (data) => (answers += data.toString('latin1')));
  const lines = [
    `${method} ${path} HTTP/1.1`,
    `Host: 127.0.0.1:${gateway.port}`,
    `X-Forwarded-For: ${address}`,
    ...more,
  ];
  const head = `${lines.join('\r\n')}\r\n`;
  socket.write(`${head}\r\n`.repeat(PIPELINED - 1));
  socket.write(`${head}Connection: close\r\n\r\n`);
  // Not `once`, which rejects after a reset.
  await new Promise((resolve) => socket.once('close', resolve));
  return answers;
}

it.each(['/nothing', '/docs-json'])('requests for %s beyond the limit are rejected, and no others', async (path) => {
  const address = `203.0.113.${path.length}`;
  let answers = '';
  for (let sent = 0; sent < REQUESTS; sent += PIPELINED) answers += await send(path, address);
  const rejected = answers.slice(answers.indexOf('HTTP/1.1 429 Too Many Requests'));
  expect(rejected).toMatch(/\r\nConnection: close\r\n.*"code":"RATE_LIMITED"/s);
  expect((await requestRaw(`${gateway.url}/healthz`, { 'X-Forwarded-For': '198.51.100.1' })).status).toBe(200);
  expect(
    gateway.log.filter((line) => line.includes('suspicious (requests)') && line.includes(`${address} `)),
  ).toHaveLength(1);
});

it('an address over its limit still gets liveness and readiness', async () => {
  const headers = { 'X-Forwarded-For': '203.0.113.8' };
  let answers = '';
  while (!answers.includes('HTTP/1.1 429')) answers = await send('/nothing', headers['X-Forwarded-For']);
  expect((await requestRaw(`${gateway.url}/healthz`, headers)).status).toBe(200);
  expect((await requestRaw(`${gateway.url}/readyz`, headers)).status).toBe(200);
});

it.each([
  ['requests with an unknown expectation', '/healthz', 'GET', ['Expect: nothing']],
  [
    'preflights of Socket.IO',
    '/socket.io/?EIO=4&transport=polling',
    'OPTIONS',
    ['Access-Control-Request-Method: POST'],
  ],
])('requests for %s are charged, too', async (_, path, method, more) => {
  const address = `203.0.113.${100 + method.length}`;
  for (let sent = 0; sent < REQUESTS; sent += PIPELINED)
    await send(path, address, method, [`Origin: ${PAGE}`, ...more]);
  expect(await send('/nothing', address)).toContain('HTTP/1.1 429');
});

it('rejected requests are counted in the metrics', async () => {
  expect((await readMetrics(gateway.url)).get('tallycast_suspicious_total{kind="requests"}')).toBeGreaterThan(0);
});

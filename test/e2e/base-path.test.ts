import { afterAll, beforeAll, expect, it } from '@jest/globals';
import { readSettings } from '../../src/config/settings.js';
import { closeClients, connect, expectOk } from '../support/clients.js';
import { type GatewayProcess, startGateway, stopAll } from '../support/gateway-process.js';
import { requestRaw } from '../support/raw-request.js';
import { startRedis, stopRedis } from '../support/redis-server.js';

const BASE_PATH = '/apps/live';
const CLIENTS = 8;

let gateway: GatewayProcess;
/** The URL of the port, without the path. */
let origin: string;
let opsUrl: string;

beforeAll(async () => {
  const redis = await startRedis();
  gateway = await startGateway({ BASE_PATH, REDIS_URL: redis.url, WORKERS: '2', OPS_PORT: '0' });
  const record = gateway.log.find((line) => line.includes('"listening"'))!;
  ({ opsUrl } = JSON.parse(record) as { opsUrl: string });
  origin = new URL(gateway.url).origin;
});

afterAll(async () => {
  await closeClients();
  await stopAll();
  await stopRedis();
});

it('the log names the URL with the path', () => {
  expect(gateway.url).toBe(origin + BASE_PATH);
});

it('sessions of long-polling reach their worker, and upgrade there', async () => {
  const options = { transports: ['polling', 'websocket'], path: `${BASE_PATH}/socket.io/` };
  const sockets = Array.from({ length: CLIENTS }, (_, i) => connect(origin, { actor: `actor-${i}` }, options));
  await Promise.all(
    sockets.map(async (socket) => {
      const upgraded = new Promise((resolve) => socket.io.engine.once('upgrade', resolve));
      expectOk(await socket.emitWithAck('like', { post: 'shared' }));
      await upgraded;
      expectOk(await socket.emitWithAck('view', { post: 'shared' }));
    }),
  );
  const { body } = await requestRaw(`${gateway.url}/v1/counts?posts=shared`, {});
  expect(JSON.parse(body)).toMatchObject({ counts: [{ likes: CLIENTS, views: CLIENTS }] });
});

it.each([
  '/',
  '/v1/a/likes',
  '/socket.io/?EIO=4&transport=polling',
  '/client/tallycast.js',
  '/apps/livelier/v1/a/likes',
  '/apps/%6cive/v1/a/likes',
  '//apps/live/v1/a/likes',
  '/metrics',
])('%s is outside, and the response says where the gateway is', async (path) => {
  const { status, headers, body } = await requestRaw(origin + path, { Origin: 'https://page.example' });
  expect([status, headers['access-control-allow-origin']]).toEqual([404, '*']);
  expect(JSON.parse(body)).toMatchObject({
    code: 'BAD_REQUEST',
    message: expect.stringContaining(`below ${BASE_PATH}/, which is its BASE_PATH`),
  });
});

it('a WebSocket outside is rejected with the path', async () => {
  const upgrade = { Connection: 'Upgrade', Upgrade: 'websocket', 'Sec-WebSocket-Version': '13' };
  const { status, body } = await requestRaw(`${origin}/socket.io/?EIO=4&transport=websocket`, upgrade);
  expect([status, body]).toEqual([404, expect.stringContaining(`only at ${BASE_PATH}/socket.io/`)]);
});

it('the log reports once that clients miss the path', () => {
  const warnings = gateway.log.filter((line) => line.includes('run the gateway without BASE_PATH'));
  expect(new Set(warnings.map((line) => (JSON.parse(line) as { pid: number }).pid)).size).toBe(warnings.length);
  expect(warnings.length).toBeGreaterThan(0);
});

it('an unknown path below lists the routes with the path', async () => {
  const { status, body } = await requestRaw(`${gateway.url}/v2`, {});
  expect([status, body]).toEqual([404, expect.stringContaining(`GET ${BASE_PATH}/v1/{post}/{metric},`)]);
});

it('the path without its slash leads to the first page', async () => {
  const { status, headers } = await requestRaw(`${gateway.url}?post=a`, {});
  expect([status, headers.location]).toEqual([301, 'live/?post=a']);
});

it('probes need no path, and the port for operators has none', async () => {
  for (const url of [origin, gateway.url, opsUrl]) {
    for (const path of ['/healthz', '/readyz']) expect((await requestRaw(url + path, {})).status).toBe(200);
  }
  for (const path of ['/metrics', '/docs/', '/docs-json', '/v1/regions']) {
    expect((await requestRaw(opsUrl + path, {})).status).toBe(200);
    expect((await requestRaw(opsUrl + BASE_PATH + path, {})).status).toBe(404);
    expect((await requestRaw(gateway.url + path, {})).status).toBe(404);
  }
});

it.each(['live', '/live/', '/', '/a//b', '/a/../b', '/.', '/a b', '/a%20b', '/é', '/a?b', 'https://a.example/live'])(
  'BASE_PATH=%s stops the boot with what would be right',
  (path) => {
    expect(() => readSettings({ BASE_PATH: path })).toThrow(/^BASE_PATH must be a path such as \/live: it begins with/);
  },
);

it.each(['', '/live', '/a.b/c-d_e~f', '/...'])('BASE_PATH=%s is valid', (path) => {
  expect(readSettings({ BASE_PATH: path }).basePath).toBe(path);
});

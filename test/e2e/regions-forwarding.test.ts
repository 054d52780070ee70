import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { freePort } from '../support/free-port.js';
import { type GatewayProcess, startGateway, stopAll } from '../support/gateway-process.js';
import { ADMIN_TOKEN, administer, readWinners } from '../support/milestones.js';
import { startRedis, stopRedis } from '../support/redis-server.js';
import { until } from '../support/until.js';

const N = 10;

let eu: GatewayProcess;
let us: GatewayProcess;
/** Starts region us again. */
let restartUs: (more: Record<string, string>) => Promise<void>;

beforeAll(async () => {
  const [euPort, usPort] = [String(await freePort()), String(await freePort())];
  const common = { PEER_TOKEN: 'a-token-of-these-regions', ADMIN_TOKEN };
  const peer = (region: string, port: string): string => `${region}=http://127.0.0.1:${port}`;
  eu = await startGateway({ ...common, REGION: 'eu', PORT: euPort, PEERS: peer('us', usPort) });
  let dataDir: string | undefined;
  restartUs = async (more) => {
    const data = dataDir === undefined ? {} : { DATA_DIR: dataDir };
    us = await startGateway({ ...common, REGION: 'us', PORT: usPort, PEERS: peer('eu', euPort), ...data, ...more });
    ({ dataDir } = us);
  };
  await restartUs({});
});

afterAll(async () => {
  await stopAll();
  await stopRedis();
});

async function view(url: string, post: string): Promise<number> {
  const headers = { 'Content-Type': 'application/json' };
  const response = await fetch(`${url}/v1/${post}/views`, { method: 'PUT', headers, body: '{"action":"increment"}' });
  return response.status;
}

async function readViews(url: string, post: string): Promise<number> {
  const response = await fetch(`${url}/v1/${post}/views`);
  return ((await response.json()) as { count: number }).count;
}

test('a region with LOG_URL keeps strict milestones from being armed, and confirms none that were armed before', async () => {
  await us.kill('SIGTERM');
  const strict = { metric: 'views', at: N, from: 1 };
  // While region us is down nobody knows that it is going to have a log.
  expect((await administer(eu.url, 'PUT', '', { post: 'early', ...strict })).status).toBe(201);
  expect(await view(eu.url, 'early')).toBe(200);
  const log = await startRedis();
  await restartUs({ LOG_URL: log.url, LOG_MS: '20' });
  await until(
    () => us.log.some((line) => line.includes('region eu wants to decide about milestones of post early')),
    'us logs it',
  );
  expect(await administer(eu.url, 'PUT', '', { post: 'late', ...strict })).toEqual({
    status: 400,
    body: {
      code: 'BAD_REQUEST',
      message:
        'mode must be order: region us has LOG_URL, and events of a log cannot be forwarded; arm strict ones without a log',
      retryable: false,
    },
  });
  const own = await administer(us.url, 'PUT', '', { post: 'late', ...strict });
  expect(own).toMatchObject({ status: 400, body: { message: expect.stringContaining('with LOG_URL') as unknown } });
  const order = { post: 'late', metric: 'likes', at: N };
  expect((await administer(eu.url, 'PUT', '', order)).status).toBe(201);

  const events = Array.from({ length: 20 }, () => ({ post: 'early' }));
  await fetch(`${us.url}/v1/events`, { method: 'POST', body: JSON.stringify({ events }) });
  await until(async () => (await readViews(eu.url, 'early')) === 21, 'no event of the log is lost');
  expect(await readWinners(eu.url, 'early', 'views')).toMatchObject({ reached: [], waiting_for: ['us'] });
  expect(await readWinners(us.url, 'early', 'views')).not.toHaveProperty('home');
});

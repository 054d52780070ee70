import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { readSettings } from '../../src/config/settings.js';
import { type GatewayProcess, startGateway, stopAll } from '../support/gateway-process.js';
import { requestRaw } from '../support/raw-request.js';
import { startRedis, stopRedis } from '../support/redis-server.js';

const OPERATORS = [
  '/metrics',
  '/METRICS/',
  '/docs/',
  '/docs/swagger-ui.css',
  '/docs-json',
  '/v1/regions',
  '/v1/regions/',
];
const CLIENTS = [
  '/v1/a/likes',
  '/v1/counts?posts=a',
  '/client/tallycast.js',
  '/',
  '/socket.io/?EIO=4&transport=polling',
];
const BOTH = ['/healthz', '/readyz'];

function findOpsUrl({ log }: GatewayProcess): string {
  const record = JSON.parse(log.find((line) => line.includes('"listening"'))!) as { opsUrl: string };
  return record.opsUrl;
}

async function statuses(origin: string, paths: readonly string[]): Promise<Record<string, number>> {
  const answers = await Promise.all(
    paths.map(async (path) => [path, (await requestRaw(origin + path, {})).status] as const),
  );
  return Object.fromEntries(answers);
}

function all(paths: readonly string[], status: number): Record<string, number> {
  return Object.fromEntries(paths.map((path) => [path, status]));
}

afterAll(async () => {
  await stopAll();
  await stopRedis();
});

describe('with OPS_PORT', () => {
  let gateway: GatewayProcess;

  beforeAll(async () => {
    gateway = await startGateway({ OPS_PORT: '0' });
  });

  it('with OPS_PORT, pages for operators are served on that port only', async () => {
    expect(await statuses(findOpsUrl(gateway), OPERATORS)).toEqual(all(OPERATORS, 200));
    expect(await statuses(gateway.url, OPERATORS)).toEqual(all(OPERATORS, 404));
    for (const path of ['/metrics?a=b', '/%6detrics', '//metrics', '/docs/../metrics', '/docs', '/v1/regions?a']) {
      const answer = await requestRaw(gateway.url + path, {});
      expect([path, answer.status, answer.body]).toEqual([path, 404, expect.stringContaining('OPS_PORT')]);
    }
  });

  it('with OPS_PORT, no other pages are served on that port, except liveness and readiness', async () => {
    expect(await statuses(findOpsUrl(gateway), CLIENTS)).toEqual(all(CLIENTS, 404));
    expect(await statuses(gateway.url, CLIENTS)).toEqual(all(CLIENTS, 200));
    expect(await statuses(findOpsUrl(gateway), BOTH)).toEqual(all(BOTH, 200));
    expect(await statuses(gateway.url, BOTH)).toEqual(all(BOTH, 200));
    const put = { method: 'PUT', body: '{"action":"increment"}' };
    expect((await requestRaw(`${findOpsUrl(gateway)}/v1/a/views`, {}, put)).status).toBe(404);
  });

  it('an open connection of an operator does not keep the gateway running', async () => {
    const ending = await startGateway({ OPS_PORT: '0' });
    expect((await fetch(`${findOpsUrl(ending)}/metrics`)).status).toBe(200);
    expect(await ending.kill('SIGTERM')).toBe(0);
  });
});

it('all workers serve OPS_PORT, each with the metrics of all', async () => {
  const { port } = await startRedis();
  const gateway = await startGateway({ REDIS_URL: `redis://127.0.0.1:${port}`, WORKERS: '2', OPS_PORT: '0' });
  for (let i = 0; i < 4; i++) {
    const { status, body } = await requestRaw(`${findOpsUrl(gateway)}/metrics`, {});
    expect(status).toBe(200);
    expect(new Set([...body.matchAll(/^tallycast_sockets\{worker="(\d)"\}/gm)].map(([, worker]) => worker)).size).toBe(
      2,
    );
  }
  expect(await statuses(gateway.url, ['/metrics'])).toEqual({ '/metrics': 404 });
});

it('all pages are served on one port without OPS_PORT', async () => {
  const gateway = await startGateway();
  const paths = [...OPERATORS, ...CLIENTS, ...BOTH];
  expect(await statuses(gateway.url, paths)).toEqual(all(paths, 200));
});

it('OPS_PORT must differ from PORT', () => {
  expect(() => readSettings({ PORT: '3000', OPS_PORT: '3000' })).toThrow(/^OPS_PORT must differ from PORT/);
  expect(readSettings({}).opsPort).toBeNull();
});

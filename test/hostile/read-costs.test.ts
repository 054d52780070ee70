import { afterAll, beforeAll, expect, it } from '@jest/globals';
import { setTimeout } from 'node:timers/promises';
import { freePort } from '../support/free-port.js';
import { startGateway, stopAll } from '../support/gateway-process.js';
import { requestRaw, type RawResponse } from '../support/raw-request.js';
import { until } from '../support/until.js';

/** Behind a balancer, with another region. */
let url: string;
/** The same settings without limits on operations. */
let unlimited: string;

beforeAll(async () => {
  const [eu, us] = [await freePort(), await freePort()];
  const common = { PEER_TOKEN: 'x'.repeat(16), TRUST_PROXY: '127.0.0.1' };
  const [here, , open] = await Promise.all([
    startGateway({ ...common, REGION: 'eu', PORT: String(eu), PEERS: `us=http://127.0.0.1:${us}` }),
    startGateway({ ...common, REGION: 'us', PORT: String(us), PEERS: `eu=http://127.0.0.1:${eu}` }),
    startGateway({ TRUST_PROXY: '127.0.0.1', MAX_OPS_PER_ADDRESS: '0' }),
  ]);
  url = here.url;
  unlimited = open.url;
  await until(async () => (await fetch(`${url}/v1/probe/views?consistency=all`)).status === 200, 'both regions answer');
});

afterAll(stopAll);

function read(gateway: string, posts: readonly string[], address: string, more = ''): Promise<RawResponse> {
  const headers = { 'X-Forwarded-For': address };
  return requestRaw(`${gateway}/v1/counts?posts=${posts.join(',')}${more}`, headers);
}

function posts(prefix: string): string[] {
  return Array.from({ length: 500 }, (_, i) => `${prefix}-${i}`);
}

it('an address over its read limit is rejected until it has waited, and other addresses are not', async () => {
  const answers = await Promise.all(Array.from({ length: 200 }, () => read(url, posts('p'), '203.0.113.1')));
  const rejected = answers.find(({ status }) => status === 429)!;
  expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([200, 429]));
  const { code, retryAfterMs } = JSON.parse(rejected.body) as { code: string; retryAfterMs: number };
  expect(code).toBe('RATE_LIMITED');
  expect(rejected.headers['retry-after']).toBe('1');
  expect((await read(url, posts('p'), '203.0.113.2')).status).toBe(200);
  await setTimeout(retryAfterMs);
  expect((await read(url, posts('p'), '203.0.113.1')).status).toBe(200);
});

it('reads of a page stay far below the limit, and a balancer on this host has none', async () => {
  const some = await Promise.all(Array.from({ length: 100 }, () => read(url, ['a'], '203.0.113.3')));
  const own = await Promise.all(Array.from({ length: 100 }, () => read(url, posts('p'), '127.0.0.1')));
  const lifted = await Promise.all(Array.from({ length: 100 }, () => read(unlimited, posts('p'), '203.0.113.3')));
  expect(new Set([...some, ...own, ...lifted].map(({ status }) => status))).toEqual(new Set([200]));
});

it('a stream that is opened repeatedly is rejected like reads', async () => {
  const stream = `${url}/v1/stream?posts=${posts('p').join(',')}`;
  const headers = { 'X-Forwarded-For': '203.0.113.4' };
  const answers = await Promise.all(Array.from({ length: 100 }, () => requestRaw(stream, headers, { method: 'HEAD' })));
  expect(answers.map(({ status }) => status)).toContain(429);
});

it('100 requests with consistency=all do not block other requests', async () => {
  const flood = Array.from({ length: 100 }, (_, i) =>
    read(url, posts(`flood${i}`), `203.0.113.${10 + (i % 20)}`, '&consistency=all'),
  );
  const victims = [];
  for (let i = 0; i < 10; i++) victims.push(await read(url, [`mine-${i}`], '198.51.100.1', '&consistency=all'));
  expect(victims.map(({ status }) => status)).toEqual(victims.map(() => 200));
  const statuses = (await Promise.all(flood)).map(({ status }) => status);
  expect(new Set(statuses)).toEqual(new Set([200, 429]));
});

it('badges and milestones cost an address as much as other reads of a count', async () => {
  // Time passes at a hundredth of its speed, so that tokens do not come back meanwhile.
  const slow = await startGateway({ TRUST_PROXY: '127.0.0.1' }, { timeScale: 100 });
  const count = async (metric: string, address: string): Promise<number> => {
    const headers = { 'X-Forwarded-For': address };
    const request = () => requestRaw(`${slow.url}/v1/a/${metric}`, headers);
    const answers = await Promise.all(Array.from({ length: 600 }, request));
    const rejected = answers.filter(({ status }) => status !== 200);
    for (const { status, body } of rejected) expect([status, body]).toEqual([429, expect.stringContaining('reads')]);
    return answers.length - rejected.length;
  };
  const counts = await count('views', '203.0.113.6');
  for (const [path, address] of [
    ['views.svg', '203.0.113.5'],
    ['views/milestones', '203.0.113.7'],
  ] as const) {
    const reads = await count(path, address);
    expect(reads).toBeLessThan(600);
    expect(Math.abs(reads - counts)).toBeLessThan(100);
  }
});

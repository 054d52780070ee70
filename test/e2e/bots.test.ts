import { afterAll, beforeAll, expect, it } from '@jest/globals';
import { closeClients, connect, expectOk } from '../support/clients.js';
import { allAccepted, postEvents, readCount } from '../support/events.js';
import { type GatewayProcess, startGateway, stopAll } from '../support/gateway-process.js';
import { readMetric } from '../support/metrics.js';

const CRAWLER = { 'User-Agent': 'Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)' };
const PERSON = { 'User-Agent': 'Mozilla/5.0 (X11; Linux x86_64; rv:133.0) Gecko/20100101 Firefox/133.0' };
const JSON_TYPE = { 'Content-Type': 'application/json' };

let gateway: GatewayProcess;

beforeAll(async () => {
  gateway = await startGateway({ METRICS: 'likes:toggle,views:tally,readers:unique' });
});

afterAll(async () => {
  await closeClients();
  await stopAll();
});

async function put(post: string, metric: string, headers: Record<string, string>, body: object = {}): Promise<unknown> {
  const response = await fetch(`${gateway.url}/v1/${post}/${metric}`, {
    method: 'PUT',
    headers: { ...JSON_TYPE, ...headers },
    body: JSON.stringify({ action: 'increment', ...body }),
  });
  return { status: response.status, count: ((await response.json()) as { count: number }).count };
}

it('views of a crawler or an automated client over a socket get the current counts and are not counted, and likes are', async () => {
  const person = connect(gateway.url, {}, { extraHeaders: PERSON });
  expectOk(await person.emitWithAck('add', { post: 'socket', metric: 'views', by: 3 }));
  const before = await readMetric(gateway.url, 'tallycast_bot_operations_total');
  const bots = [connect(gateway.url, {}, { extraHeaders: CRAWLER }), connect(gateway.url, { automated: true })];
  for (const [i, bot] of bots.entries()) {
    const unchanged = { ok: true, applied: false, duplicate: false, counts: { post: 'socket', likes: i, views: 3 } };
    expect(await bot.emitWithAck('view', { post: 'socket' })).toMatchObject(unchanged);
    expect(await bot.emitWithAck('add', { post: 'socket', metric: 'views', by: 9 })).toMatchObject(unchanged);
    expect(await bot.emitWithAck('add', { post: 'socket', metric: 'readers' })).toMatchObject({
      ...unchanged,
      counts: { readers: 0 },
    });
    expect(await bot.emitWithAck('like', { post: 'socket' })).toMatchObject({ ok: true, applied: true, on: true });
  }
  expect(await readMetric(gateway.url, 'tallycast_bot_operations_total')).toBe(before + 6);
});

it('additions of a crawler or an automated client over HTTP are accepted and not counted, and likes are', async () => {
  expect(await put('http', 'views', PERSON)).toEqual({ status: 200, count: 1 });
  expect(await put('http', 'views', CRAWLER)).toEqual({ status: 200, count: 1 });
  expect(await put('http', 'views', PERSON, { automated: true })).toEqual({ status: 200, count: 1 });
  expect(await put('http', 'likes', CRAWLER)).toEqual({ status: 200, count: 1 });
  const events = [{ post: 'http' }, { post: 'http', metric: 'likes' }, { post: 'http', by: 7 }];
  expect(await postEvents(gateway.url, { events }, { ...JSON_TYPE, ...CRAWLER })).toEqual(allAccepted(3));
  expect(await postEvents(gateway.url, { events, automated: true })).toEqual(allAccepted(3));
  expect((await fetch(`${gateway.url}/view?post=http`, { method: 'POST', headers: CRAWLER })).status).toBe(202);
  expect((await fetch(`${gateway.url}/v1/http/views.gif`, { headers: CRAWLER })).status).toBe(200);
  expect([await readCount(gateway.url, 'http', 'views'), await readCount(gateway.url, 'http', 'likes')]).toEqual([
    1, 3,
  ]);
});

it('a site’s own backend counts by whatever library it uses, and without a user agent', async () => {
  const agents = ['curl/8.5.0', 'axios/1.7.9', 'node', 'python-requests/2.32.3', 'Java-http-client/21.0.2', ''];
  for (const agent of agents) await put('backend', 'views', { 'User-Agent': agent });
  expect(await readCount(gateway.url, 'backend', 'views')).toBe(agents.length);
});

it('the log says once that bots are not counted, without their names, and COUNT_BOTS=true counts them', async () => {
  await put('told', 'views', CRAWLER);
  await put('told', 'views', CRAWLER);
  expect(gateway.log.filter((line) => line.includes('COUNT_BOTS=true'))).toHaveLength(1);
  expect(gateway.log.join('\n')).not.toContain('Googlebot');
  const counting = await startGateway({ COUNT_BOTS: 'true' });
  const bot = connect(counting.url, { automated: true }, { extraHeaders: CRAWLER });
  expect(await bot.emitWithAck('view', { post: 'told' })).toMatchObject({ applied: true, counts: { views: 1 } });
  expect(await readMetric(counting.url, 'tallycast_bot_operations_total')).toBe(0);
});

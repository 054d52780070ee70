import { afterAll, beforeAll, expect, it } from '@jest/globals';
import { readCount } from '../support/events.js';
import { type GatewayProcess, startGateway, stopAll } from '../support/gateway-process.js';
import { requestRaw } from '../support/raw-request.js';

let gateway: GatewayProcess;

beforeAll(async () => {
  gateway = await startGateway({ TICK_MS: '1500', PUBLIC_URL: 'https://own.example' });
  const view = { method: 'POST' };
  await fetch(`${gateway.url}/view?post=film`, view);
});

afterAll(stopAll);

it('a badge shows the count, may be cached for a tick, and runs nothing', async () => {
  const { status, headers, body } = await requestRaw(`${gateway.url}/v1/film/views.svg`, {});
  expect([status, body]).toEqual([200, expect.stringContaining('<title>views: 1</title>')]);
  expect(headers).toMatchObject({
    'content-type': 'image/svg+xml; charset=utf-8',
    'cache-control': 'public, max-age=2',
    'content-security-policy': "default-src 'none'; frame-ancestors 'none'; sandbox",
    'cross-origin-resource-policy': 'cross-origin',
    'x-content-type-options': 'nosniff',
  });
  expect(await readCount(gateway.url, 'film', 'views')).toBe(1);
});

it('a badge is sent again only after a change', async () => {
  const url = `${gateway.url}/v1/changing/views.svg`;
  const first = await requestRaw(url, { 'Accept-Encoding': 'gzip' });
  const etag = first.headers.etag!;
  expect(await requestRaw(url, { 'If-None-Match': etag })).toMatchObject({ status: 304, body: '' });
  await fetch(`${gateway.url}/view?post=changing`, { method: 'POST' });
  expect((await requestRaw(url, { 'If-None-Match': etag })).body).toContain('views: 1');
});

it('HEAD has the headers of the badge', async () => {
  const url = `${gateway.url}/v1/film/live.svg`;
  const [get, head] = [await requestRaw(url, {}), await requestRaw(url, {}, { method: 'HEAD' })];
  expect(head).toMatchObject({ status: 200, body: '' });
  expect(head.headers.etag).toBe(get.headers.etag);
});

it.each([
  ['counter.svg', '>likes: 0<'],
  ['live.svg', '>live: 0<'],
  ['views.svg?label=a%20%26%20b&color=red', '>a &amp; b: 1<'],
  ['views.svg?color=E05d44', 'fill="#E05d44"'],
  [`views.svg?label=${encodeURIComponent('👋'.repeat(32))}`, '👋'],
  // A server decodes half a surrogate pair as characters that stand for a mistake.
  ['views.svg?label=%ED%A0%80', '>\ufffd\ufffd\ufffd: 1<'],
])('a badge is as its URL says: %s', async (path, text) => {
  const { status, body } = await requestRaw(`${gateway.url}/v1/film/${path}`, {});
  expect([status, body]).toEqual([200, expect.stringContaining(text)]);
});

it.each([
  ['no%20spaces/views.svg', 'post must be'],
  ['film/applause.svg', 'metric must be one of: counter, likes, views, live'],
  ['film/views.svg?label=', 'label must have 1 to 32 characters'],
  [`film/views.svg?label=${'x'.repeat(33)}`, 'label must have 1 to 32 characters'],
  ['film/views.svg?label=a%00b', 'label must have 1 to 32 characters, no control characters'],
  ['film/views.svg?label=a&label=b', 'label must be one text'],
  ['film/views.svg?color=%23fff', 'color must be 3 or 6 hexadecimal digits'],
  ['film/views.svg?color=ffff', 'color must be 3 or 6 hexadecimal digits'],
  ['film/views.svg?color=constructor', 'color must be 3 or 6 hexadecimal digits'],
])('a wrong badge is a BAD_REQUEST that names the field: %s', async (path, message) => {
  const { status, headers, body } = await requestRaw(`${gateway.url}/v1/${path}`, {});
  expect([status, headers['cache-control']]).toEqual([400, 'no-store']);
  expect(JSON.parse(body)).toMatchObject({ code: 'BAD_REQUEST', message: expect.stringContaining(message) });
});

it('a badge is shown by mails and own pages, and by no other pages', async () => {
  const show = async (headers: Record<string, string>) =>
    (await requestRaw(`${gateway.url}/v1/film/views.svg`, headers)).status;
  expect(await show({ 'Sec-Fetch-Site': 'cross-site' })).toBe(200);
  expect(await show({ Referer: 'https://own.example/readme', 'Sec-Fetch-Site': 'cross-site' })).toBe(200);
  expect(await show({ Referer: 'https://evil.example/' })).toBe(403);
});

import { afterAll, afterEach, beforeAll, expect, test } from '@jest/globals';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Browser } from 'playwright-core';
import { launchChromium, newContext } from '../support/chromium.js';
import { startAddressedProxy } from '../support/addressed-proxy.js';
import { type GatewayProcess, startGateway, stopAll } from '../support/gateway-process.js';
import { until } from '../support/until.js';
import { openWidgets, SCRIPT, untilCount } from './widgets-page.js';

/** A host name whose owner points it at the gateway (DNS rebinding). */
const REBOUND = 'rebound.test';
/** A site that the gateway does not allow. It is on loopback, too, because Chromium blocks pages of the Internet there. */
const ELSEWHERE = 'elsewhere.test';
let elsewhere = '';
const site = createServer((_request, response) =>
  response.writeHead(200, { 'Content-Type': 'text/html' }).end(elsewhere),
);

let browser: Browser;
let gateway: GatewayProcess;

beforeAll(async () => {
  [gateway, browser] = await Promise.all([
    startGateway({ TRUST_PROXY: 'loopback', MAX_CONNECTIONS_PER_ADDRESS: '1' }),
    launchChromium([`--host-resolver-rules=MAP ${REBOUND} 127.0.0.1, MAP ${ELSEWHERE} 127.0.0.1`]),
    once(site.listen(0, '127.0.0.1'), 'listening'),
  ]);
});

afterEach(async () => {
  for (const context of browser.contexts()) await context.close();
});

afterAll(async () => {
  await browser.close();
  await stopAll();
  site.closeAllConnections();
  site.close();
});

async function readCount(path: string): Promise<number> {
  const { count } = (await (await fetch(`${gateway.url}/v1/${path}`)).json()) as { count: number };
  return count;
}

/** Opens the page. @returns the outcome of each request to the gateway by path: its status, or Chromium's error */
async function openElsewhere(body: string): Promise<Map<string, number | string>> {
  const page = await (await newContext(browser)).newPage();
  const outcomes = new Map<string, number | string>();
  const add = (url: string, outcome: number | string): void => {
    if (url.startsWith(gateway.url)) outcomes.set(new URL(url).pathname, outcome);
  };
  page.on('response', (response) => add(response.url(), response.status()));
  page.on('requestfailed', (request) => {
    if (!outcomes.has(new URL(request.url()).pathname)) add(request.url(), request.failure()!.errorText);
  });
  elsewhere = body;
  await page.goto(`http://${ELSEWHERE}:${(site.address() as AddressInfo).port}/`, { waitUntil: 'commit' });
  return outcomes;
}

test('pictures, scripts and frames of another site are rejected and make no viewer', async () => {
  const { url } = gateway;
  const outcomes = await openElsewhere(`
    <img src="${url}/v1/stream?posts=seen">
    <script src="${url}/v1/counts?posts=seen"></script>
    <script src="${url}/socket.io/?EIO=4&transport=polling&j=0"></script>
    <iframe src="${url}/v1/seen/live"></iframe>`);
  await until(() => outcomes.size === 4, 'four outcomes');
  expect(outcomes.get('/v1/seen/live')).toBe(403);
  // The gateway rejects them, or Chromium blocks the response.
  for (const path of ['/v1/stream', '/v1/counts', '/socket.io/']) {
    expect(String(outcomes.get(path))).toMatch(/^403$|BLOCKED_BY_(RESPONSE|ORB)/);
  }
  expect(await readCount('seen/live')).toBe(0);
});

test('a page under a rebound host name can act neither over HTTP nor over a socket', async () => {
  const page = await (await newContext(browser)).newPage();
  await page.goto(`http://${REBOUND}:${gateway.port}/healthz`);
  const outcomes = await page.evaluate(`(async () => {
    const put = await fetch('/v1/rebound/views', { method: 'PUT', body: '{"action":"increment"}' });
    const path = '/socket.io/?EIO=4&transport=polling';
    const opened = await (await fetch(path)).text();
    const { sid } = JSON.parse(opened.slice(1));
    const posted = await fetch(path + '&sid=' + sid, { method: 'POST', body: '40{}' });
    return [put.status, posted.status];
  })()`);
  expect(outcomes).toEqual([403, 403]);
  expect(await readCount('rebound/views')).toBe(0);
});

test('the page that the gateway serves works over HTTP, polling and event streams', async () => {
  const page = await (await newContext(browser)).newPage();
  await page.goto(`${gateway.url}/healthz`);
  const outcomes = await page.evaluate(`(async () => {
    const put = await fetch('/v1/own/views', { method: 'PUT', body: '{"action":"increment"}' });
    const read = await fetch('/v1/own/views');
    const polling = await fetch('/socket.io/?EIO=4&transport=polling');
    const stream = new EventSource('/v1/stream?posts=own');
    const event = await new Promise((resolve) => stream.addEventListener('counts', resolve, { once: true }));
    stream.close();
    return [put.status, read.status, polling.status, JSON.parse(event.data)[0].views];
  })()`);
  expect(outcomes).toEqual([200, 200, 200, 1]);
});

test('a page whose address has too many connections gets one error, with the time to wait', async () => {
  const proxy = await startAddressedProxy(gateway, '198.51.100.7');
  const tag = '<live-count post="crowded"></live-count>';
  const first = await openWidgets(browser, proxy.url, SCRIPT + tag);
  await untilCount(first.page, 'live-count', 0);
  const { page } = await openWidgets(browser, proxy.url, tag);
  await page.evaluate(`globalThis.failures = [];
    addEventListener('live-error', ({ detail }) => failures.push(detail));
    import('/client/tallycast.js').then(() => undefined)`);
  await until(async () => (await page.evaluate<number>('failures.length')) > 0, 'the page gets live-error');
  const message = 'too many connections from your address; close some, or retry later';
  const failure = { post: 'crowded', code: 'RATE_LIMITED', message, retryAfterMs: 10_000 };
  expect(await page.evaluate('failures')).toEqual([failure]);
  proxy.close();
});

import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Browser, Page } from 'playwright-core';
import { launchChromium, newContext } from '../support/chromium.js';
import { readCount } from '../support/events.js';
import { type GatewayProcess, startGateway, stopAll } from '../support/gateway-process.js';
import { until } from '../support/until.js';

/** Hosts of two sites. They are on loopback, because Chromium blocks pages of the Internet there. */
const LISTED = 'listed.test';
const ELSEWHERE = 'elsewhere.test';
const site = createServer((_request, response) =>
  response.writeHead(200, { 'Content-Type': 'text/html' }).end('<title>An article</title>'),
);

let browser: Browser;
let gateway: GatewayProcess;
let port = 0;

beforeAll(async () => {
  await once(site.listen(0, '127.0.0.1'), 'listening');
  ({ port } = site.address() as AddressInfo);
  [gateway, browser] = await Promise.all([
    startGateway({ ALLOWED_ORIGINS: `http://${LISTED}:${port}` }),
    launchChromium([`--host-resolver-rules=MAP ${LISTED} 127.0.0.1, MAP ${ELSEWHERE} 127.0.0.1`]),
  ]);
});

afterAll(async () => {
  await browser.close();
  await stopAll();
  site.closeAllConnections();
  site.close();
});

async function openPage(host: string): Promise<Page> {
  const page = await (await newContext(browser)).newPage();
  await page.goto(`http://${host}:${port}/`);
  return page;
}

/** The page sends a beacon of two events as it ends. */
async function sendAtEnd(page: Page, post: string): Promise<void> {
  const body = JSON.stringify({ actor: 'ada', events: [{ post }, { post, metric: 'likes' }] });
  const url = `${gateway.url}/v1/events`;
  await page.evaluate(
    `addEventListener('pagehide', () => navigator.sendBeacon(${JSON.stringify(url)}, ${JSON.stringify(body)}))`,
  );
}

async function untilCounted(post: string): Promise<void> {
  await until(async () => (await readCount(gateway.url, post, 'views')) > 0, `a view of ${post}`);
}

test('a beacon that a page sends as it closes, or as it is left, is counted exactly once', async () => {
  const [closed, left] = [await openPage(LISTED), await openPage(LISTED)];
  await sendAtEnd(closed, 'closed');
  await sendAtEnd(left, 'left');
  await closed.close();
  await left.goto('about:blank');
  for (const post of ['closed', 'left']) {
    await untilCounted(post);
    for (const metric of ['views', 'likes']) expect(await readCount(gateway.url, post, metric)).toBe(1);
  }
});

test('a page of another site has no effect by a beacon or a picture', async () => {
  const page = await openPage(ELSEWHERE);
  // The request of a beacon, whose end a page does not learn.
  const picture: unknown = await page.evaluate(`(async () => {
    await fetch('${gateway.url}/view?post=foreign', { method: 'POST', mode: 'no-cors' }).catch(() => undefined);
    return new Promise((resolve) => {
      const image = new Image();
      image.onload = () => resolve('shown');
      image.onerror = () => resolve('rejected');
      image.src = '${gateway.url}/v1/foreign/views.gif';
    });
  })()`);
  expect(picture).toBe('rejected');
  expect(await readCount(gateway.url, 'foreign', 'views')).toBe(0);
});

test('a page of an allowed site shows the picture, and sends JSON after a preflight', async () => {
  const page = await openPage(LISTED);
  const width: unknown = await page.evaluate(`new Promise((resolve) => {
    const image = new Image();
    image.onload = () => resolve(image.naturalWidth);
    image.src = '${gateway.url}/v1/article/views.gif';
  })`);
  expect(width).toBe(1);
  const answer: unknown = await page.evaluate(`fetch('${gateway.url}/v1/events', {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: '[{"post":"article"}]',
    keepalive: true,
  }).then((response) => response.json())`);
  expect(answer).toEqual({ accepted: 1, rejected: [] });
  expect(await readCount(gateway.url, 'article', 'views')).toBe(2);
});

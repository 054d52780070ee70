import { afterAll, afterEach, beforeAll, expect, test } from '@jest/globals';
import type { Browser, Page } from 'playwright-core';
import { launchChromium } from '../support/chromium.js';
import { type GatewayProcess, startGateway, stopAll } from '../support/gateway-process.js';
import { until } from '../support/until.js';
import { openWidgets, untilCount } from './widgets-page.js';

let browser: Browser;
let gateway: GatewayProcess;

beforeAll(async () => {
  [gateway, browser] = await Promise.all([startGateway(), launchChromium()]);
});

afterEach(async () => {
  for (const context of browser.contexts()) await context.close();
});

afterAll(async () => {
  await browser.close();
  await stopAll();
});

/** Opens a page with a like button and a counted view; resolves when the view is counted. */
async function openArticle(post: string, query = ''): Promise<Page> {
  const { page } = await openWidgets(
    browser,
    gateway.url,
    `<script type="module" src="/client/tallycast.js${query}"></script>
    <live-like post="${post}"></live-like> <live-count post="${post}" metric="views" count></live-count>`,
  );
  await untilCount(page, 'live-count', 1);
  return page;
}

/** Likes the post, and resolves when the gateway has counted it. */
async function like(page: Page, post: string): Promise<void> {
  await page.locator('live-like').click();
  await until(async () => {
    const { count } = (await (await fetch(`${gateway.url}/v1/${post}/likes`)).json()) as { count: number };
    return count === 1;
  }, 'the like is counted');
}

function storedIn(page: Page, storage: 'localStorage' | 'sessionStorage'): Promise<string[]> {
  return page.evaluate<string[]>(`Object.keys(${storage})`);
}

test('a visit without a click leaves nothing in the browser, and a like leaves the actor', async () => {
  const page = await openArticle('read');
  expect([await storedIn(page, 'localStorage'), await storedIn(page, 'sessionStorage')]).toEqual([[], []]);
  await like(page, 'read');
  expect(await storedIn(page, 'localStorage')).toEqual(['tallycast.actor']);
  await page.reload();
  await page.locator('live-like[data-on]').waitFor();
});

test('a hidden page without a like leaves nothing in the browser', async () => {
  const page = await openArticle('hidden');
  await page.evaluate(`dispatchEvent(new Event('pagehide'))`);
  expect(await storedIn(page, 'localStorage')).toEqual([]);
});

test('with storage=none a like is counted and leaves nothing in the browser', async () => {
  const page = await openArticle('none', '?storage=none');
  await like(page, 'none');
  await page.locator('live-like[data-on]').waitFor();
  expect([await storedIn(page, 'localStorage'), await storedIn(page, 'sessionStorage')]).toEqual([[], []]);
});

test('with storage=session a like leaves the actor in the storage of the tab', async () => {
  const page = await openArticle('session', '?storage=session');
  await like(page, 'session');
  expect(await storedIn(page, 'localStorage')).toEqual([]);
  expect(await storedIn(page, 'sessionStorage')).toEqual(['tallycast.actor']);
  await page.reload();
  await page.locator('live-like[data-on]').waitFor();
});

test('a visitor who likes in two tabs that were open before likes once, and can take it back in each', async () => {
  const first = await openArticle('tabs');
  const second = await first.context().newPage();
  await second.goto(first.url());
  await second.locator('live-like[data-count="0"]').waitFor();
  await like(first, 'tabs');
  await second.locator('live-like').click();
  await second.locator('live-like[data-on]').waitFor();
  await first.reload();
  await first.locator('live-like[data-on][data-count="1"]').waitFor();
  await second.locator('live-like[data-on][data-count="1"]').click();
  await first.locator('live-like:not([data-on])[data-count="0"]').waitFor();
});

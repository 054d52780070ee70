import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import type { Browser, Page } from 'playwright-core';
import { type SocketlessProxy, startSocketlessProxy } from '../../client/test/without-sockets.js';
import { launchKeepingPages, newContext } from '../support/chromium.js';
import { readCount } from '../support/events.js';
import { type GatewayProcess, startGateway, stopAll } from '../support/gateway-process.js';
import { startProxy, type TcpProxy } from '../support/tcp-proxy.js';
import { until } from '../support/until.js';
import { closeWindows } from './windows.js';

const HTML = '<!doctype html><html lang="en"><title>Article</title>';
/** Records what happens to the page from its first script on. */
const IN_PAGE = `
  globalThis.states = [];
  addEventListener('pageshow', ({ persisted }) => { globalThis.wasKept = persisted; });
`;

let browser: Browser;
let gateway: GatewayProcess;
let balancer: TcpProxy;
let swallowing: SocketlessProxy;

beforeAll(async () => {
  [gateway, browser] = await Promise.all([startGateway(), launchKeepingPages()]);
  [balancer, swallowing] = await Promise.all([startProxy(gateway), startSocketlessProxy(gateway.port)]);
});

afterEach(() => closeWindows(browser));

afterAll(async () => {
  await browser.close();
  await Promise.all([balancer.close(), swallowing.close()]);
  await stopAll();
});

async function openArticle(url: string): Promise<Page> {
  const context = await newContext(browser);
  // Chromium does not treat a page from a route as local, and would block its requests to 127.0.0.1.
  await context.grantPermissions(['local-network-access']);
  await context.route(`${url}/article`, (route) => route.fulfill({ contentType: 'text/html', body: HTML }));
  await context.addInitScript(IN_PAGE);
  const page = await context.newPage();
  await page.goto(`${url}/article`);
  return page;
}

/** Watches a post from the page. Resolves with its first counts. */
async function watch(page: Page, post: string): Promise<void> {
  await page.evaluate<unknown>(`import('/client/tallycast.js').then(({ createLiveCounts }) => {
    globalThis.live = createLiveCounts(location.origin);
    for (const state of ['syncing', 'synced']) live.on(state, () => states.push(state));
    globalThis.post = live.post('${post}');
    return new Promise((resolve) => post.subscribe((change) => {
      globalThis.change = change;
      resolve();
    }));
  })`);
}

async function untilSynced(page: Page): Promise<void> {
  await until(() => page.evaluate<boolean>(`live.state === 'synced'`), 'the page is synced');
}

async function countView(post: string): Promise<void> {
  const headers = { 'Content-Type': 'application/json' };
  await fetch(`${gateway.url}/v1/${post}/views`, { method: 'PUT', headers, body: '{"action":"increment"}' });
}

async function untilViewers(post: string, count: number): Promise<void> {
  await until(async () => (await readCount(gateway.url, post, 'live')) === count, `${count} viewers of ${post}`);
}

describe('a page that is left', () => {
  test('it is no viewer, is kept for the way back, and is current again when its visitor comes back', async () => {
    const page = await openArticle(gateway.url);
    await watch(page, 'left');
    await untilViewers('left', 1);
    await page.goto(`${gateway.url}/healthz`, { waitUntil: 'commit' });
    await untilViewers('left', 0);
    await countView('left');
    await page.goBack({ waitUntil: 'commit' });
    await until(() => page.evaluate<boolean>('globalThis.wasKept'), 'the page was kept');
    await untilSynced(page);
    expect(await page.evaluate<object>('change.counts')).toMatchObject({ views: 1, live: 1 });
    await untilViewers('left', 1);
    await page.evaluate<unknown>('post.like()');
    expect(await readCount(gateway.url, 'left', 'likes')).toBe(1);
  });

  test('a like that it makes as it is left is counted once, and shows when its visitor comes back', async () => {
    const page = await openArticle(gateway.url);
    await watch(page, 'liked');
    await page.evaluate(`document.addEventListener('visibilitychange', () => void post.like(), { once: true })`);
    await page.goto(`${gateway.url}/healthz`, { waitUntil: 'commit' });
    await until(async () => (await readCount(gateway.url, 'liked', 'likes')) === 1, 'the like is counted');
    await untilViewers('liked', 0);
    await page.goBack({ waitUntil: 'commit' });
    await until(() => page.evaluate<boolean>('globalThis.wasKept'), 'the page was kept');
    await until(() => page.evaluate<boolean>('live.waiting === 0'), 'the like is acknowledged');
    expect(await page.evaluate<object>('change')).toMatchObject({ mine: ['likes'], counts: { likes: 1 } });
  });
});

test('a page whose socket is lost without notice is stale when its network is back, and then current', async () => {
  const page = await openArticle(`http://127.0.0.1:${balancer.port}`);
  await watch(page, 'silent');
  await untilSynced(page);
  balancer.stallOpen();
  await countView('silent');
  await page.evaluate(`states.length = 0; dispatchEvent(new Event('online'))`);
  await until(() => page.evaluate<boolean>('change.counts.views === 1'), 'the page is current');
  expect(await page.evaluate<string[]>('states')).toEqual(['syncing', 'synced']);
});

test('where sockets are swallowed a page shows its first number over a stream, which its next page uses at once', async () => {
  swallowing.swallowSockets();
  const page = await openArticle(swallowing.url);
  await watch(page, 'swallowed');
  // A second attempt would be the consequence of a failed one, which takes 10 s.
  expect(swallowing.upgrades).toBe(1);
  expect(await page.evaluate<object>('({ ...sessionStorage })')).toEqual({ 'tallycast.transport': 'events' });
  await page.reload();
  await watch(page, 'swallowed');
  expect(swallowing.streams).toBe(1);
  expect(await page.evaluate<object>('({ ...sessionStorage })')).toEqual({ 'tallycast.transport': 'events' });
});

import { afterAll, beforeAll, expect, test } from '@jest/globals';
import type { Page } from 'playwright-core';
import { type SocketlessProxy, startSocketlessProxy } from '../../client/test/without-sockets.js';
import { launchTabs, type Tabs } from '../support/chromium.js';
import { readCount } from '../support/events.js';
import { type GatewayProcess, startGateway, stopAll } from '../support/gateway-process.js';
import { startProxy, type TcpProxy } from '../support/tcp-proxy.js';
import { until } from '../support/until.js';

let tabs: Tabs;
let gateway: GatewayProcess;
let balancer: TcpProxy;
let swallowing: SocketlessProxy;

beforeAll(async () => {
  [gateway, tabs] = await Promise.all([startGateway(), launchTabs()]);
  [balancer, swallowing] = await Promise.all([startProxy(gateway), startSocketlessProxy(gateway.port)]);
});

afterAll(async () => {
  await tabs.close();
  await Promise.all([balancer.close(), swallowing.close()]);
  await stopAll();
});

/** Opens a page of the gateway's origin that watches a post, in a tab of the same person. */
async function visit(url: string, post: string, environment = '{}'): Promise<Page> {
  const page = await tabs.context.newPage();
  await page.goto(`${url}/healthz`);
  await page.evaluate(`import('/client/tallycast.js').then(({ createLiveCounts }) => {
    globalThis.live = createLiveCounts(location.origin, { environment: ${environment} });
    globalThis.post = live.post('${post}');
    post.subscribe(() => undefined);
  })`);
  return page;
}

async function untilSynced(page: Page): Promise<void> {
  await until(() => page.evaluate<boolean>(`live.state === 'synced'`), 'the page is synced');
}

async function likeAndView(page: Page): Promise<void> {
  await page.evaluate('void post.like(); void post.view()');
}

async function countStored(page: Page): Promise<number> {
  return await page.evaluate(`Object.keys(localStorage).filter((name) => name.includes('unsent')).length`);
}

async function readBoth(post: string): Promise<number[]> {
  return await Promise.all(['likes', 'views'].map((metric) => readCount(gateway.url, post, metric)));
}

async function untilCounted(post: string): Promise<void> {
  await until(async () => Math.min(...(await readBoth(post))) > 0, `a like and a view of ${post}`);
}

/** The next visit sends what is stored; after that nothing is, and all of it is counted once. */
async function checkNextVisit(url: string, post: string): Promise<void> {
  const page = await visit(url, post);
  await untilSynced(page);
  await until(async () => (await countStored(page)) === 0, 'nothing is stored any more');
  expect(await readBoth(post)).toEqual([1, 1]);
  await page.close();
}

test('a like and a view of a page that is closed before its socket opens are counted once', async () => {
  swallowing.swallowSockets();
  const page = await visit(swallowing.url, 'early');
  expect(await countStored(page)).toBe(0);
  await likeAndView(page);
  await page.close();
  await untilCounted('early');
  swallowing.allowSockets();
  await checkNextVisit(swallowing.url, 'early');
});

test('a like and a view of a page that is closed while the gateway is down are counted once, at the next visit', async () => {
  const url = `http://127.0.0.1:${balancer.port}`;
  const page = await visit(url, 'down');
  await untilSynced(page);
  balancer.refuse();
  await likeAndView(page);
  await page.close();
  balancer.accept();
  expect(await readBoth('down')).toEqual([0, 0]);
  await checkNextVisit(url, 'down');
});

test('a like and a view of a page that is hidden and comes back are counted once', async () => {
  const url = `http://127.0.0.1:${balancer.port}`;
  const other = await tabs.context.newPage();
  const page = await visit(url, 'back');
  await page.bringToFront();
  await untilSynced(page);
  balancer.stall();
  await likeAndView(page);
  const sent = page.waitForRequest('**/v1/events');
  await other.bringToFront();
  await sent;
  expect(await countStored(page)).toBe(1);
  balancer.resume();
  await page.bringToFront();
  await until(() => page.evaluate<boolean>('live.waiting === 0'), 'all operations are acknowledged');
  expect([await countStored(page), await readBoth('back')]).toEqual([0, [1, 1]]);
  await page.close();
  await checkNextVisit(url, 'back');
});

test('a like and a view over HTTP whose acknowledgement is lost are counted once when their page is closed', async () => {
  const page = await visit(gateway.url, 'http', '{ WebSocket: undefined }');
  await untilSynced(page);
  let counted = false;
  await page.route('**/v1/http/likes', async (route) => {
    await route.fetch();
    counted = true;
    await route.abort();
  });
  await likeAndView(page);
  await until(() => counted, 'the like is counted');
  await page.close();
  await untilCounted('http');
  await checkNextVisit(gateway.url, 'http');
});

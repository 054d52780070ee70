import { afterAll, afterEach, beforeAll, expect, test } from '@jest/globals';
import type { Browser, Page } from 'playwright-core';
import { type Proxy, proxyWithoutSockets } from '../../client/test/without-sockets.js';
import { launchChromium } from '../support/chromium.js';
import { type GatewayProcess, startGateway, stopAll } from '../support/gateway-process.js';
import { until } from '../support/until.js';
import {
  acknowledgements,
  all,
  closeWindows,
  isLiked,
  like,
  newTimedPerson,
  openTab,
  openWindow,
  isShown,
  shows,
} from './windows.js';

/** A step of the page's time: two failed attempts are over, or it is time for another one with a socket. */
const STEP_MS = 2_000;
const LOOKS_A_STEP = 10;

let browser: Browser;
let gateway: GatewayProcess;
let proxy: Proxy;

beforeAll(async () => {
  [gateway, browser] = await Promise.all([startGateway(), launchChromium()]);
  proxy = await proxyWithoutSockets(gateway.port);
});

afterEach(() => closeWindows(browser));

afterAll(async () => {
  await browser.close();
  await proxy.close();
  await stopAll();
});

async function passTime(page: Page, reached: () => boolean | Promise<boolean>, what: string): Promise<void> {
  let looks = 0;
  const passed = async (): Promise<boolean> => {
    if (await reached()) return true;
    // Attempts to connect take true time, and are not to run into the deadlines of the page's time.
    if (looks++ % LOOKS_A_STEP === 0) await page.clock.runFor(STEP_MS);
    return false;
  };
  await until(passed, what);
}

function isLikedNow(page: Page): Promise<boolean> {
  return page.locator('live-like[data-on]').isVisible();
}

test('where sockets are blocked a page goes on by HTTP, and by a socket when one gets through, and back again', async () => {
  const person = await newTimedPerson(browser);
  const acknowledged = acknowledgements(person);
  const ann = await openTab(person, proxy.url, 'blocked');
  const bob = await openWindow(browser, gateway.url, 'blocked');
  expect([proxy.sockets, proxy.streams]).toEqual([0, 1]);
  await all([ann, bob], (page) => shows(page, 'views', 2));
  await all([ann, bob], (page) => shows(page, 'live', 2));
  await like(ann);
  await all([ann, bob], (page) => shows(page, 'likes', 1));
  await like(bob);
  await all([ann, bob], (page) => shows(page, 'likes', 2));

  proxy.allowSockets();
  await passTime(ann, () => proxy.sockets === 1, 'a socket takes over');
  await until(() => proxy.streams === 0, 'the stream is ended');
  await like(ann);
  await all([ann, bob], (page) => shows(page, 'likes', 1));
  await all([ann, bob], (page) => shows(page, 'live', 2));

  // An operation whose acknowledgement is lost with the socket waits for a socket.
  await until(() => acknowledged() === 1, 'the operation is acknowledged');
  proxy.blockSockets();
  await passTime(ann, () => proxy.streams === 1, 'a stream takes over');
  await like(ann);
  // In its time: another attempt with a socket may come between, and be waited for.
  await passTime(ann, () => isShown(ann, 'likes', 2), 'the like is shown');
  await shows(bob, 'likes', 2);
  await all([ann, bob], (page) => shows(page, 'live', 2));
  await isLiked(ann, true);
});

test('a like that another tab turned while sockets were blocked shows once they are back', async () => {
  proxy.allowSockets();
  const person = await newTimedPerson(browser);
  const acknowledged = acknowledgements(person);
  const ann = await openTab(person, proxy.url, 'turned');
  const tab = await openTab(person, proxy.url, 'turned');
  expect(proxy.sockets).toBe(2);
  await all([ann, tab], (page) => shows(page, 'views', 2));

  await until(() => acknowledged() === 2, 'the views of both tabs are acknowledged');
  proxy.blockSockets();
  // Tabs share their time.
  await passTime(ann, () => proxy.streams === 2, 'streams take over');
  await like(tab);
  await shows(ann, 'likes', 1);
  // Streams don't tell whose likes they count.
  await isLiked(ann, false);
  proxy.allowSockets();
  await passTime(ann, () => isLikedNow(ann), 'the like shows as the own one');
});

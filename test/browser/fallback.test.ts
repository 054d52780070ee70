import { afterAll, afterEach, beforeAll, expect, test } from '@jest/globals';
import type { Browser, Page } from 'playwright-core';
import { type SocketlessProxy, startSocketlessProxy } from '../../client/test/without-sockets.js';
import { launchChromium } from '../support/chromium.js';
import { type GatewayProcess, startGateway, stopAll } from '../support/gateway-process.js';
import { until } from '../support/until.js';
import {
  countAcknowledgements,
  forAll,
  closeWindows,
  untilLiked,
  like,
  newTimedPerson,
  openTab,
  openWindow,
  isShown,
  untilShown,
} from './windows.js';

/** A step of the page's time: long enough for two failed attempts, or for the next probe with a socket. */
const STEP_MS = 2_000;
const CHECKS_PER_STEP = 10;

let browser: Browser;
let gateway: GatewayProcess;
let proxy: SocketlessProxy;

beforeAll(async () => {
  [gateway, browser] = await Promise.all([startGateway(), launchChromium()]);
  proxy = await startSocketlessProxy(gateway.port);
});

afterEach(() => closeWindows(browser));

afterAll(async () => {
  await browser.close();
  await proxy.close();
  await stopAll();
});

async function passTime(page: Page, reached: () => boolean | Promise<boolean>, what: string): Promise<void> {
  let checks = 0;
  const passed = async (): Promise<boolean> => {
    if (await reached()) return true;
    // Attempts to connect take true time, so the page's time moves rarely, to stay within their deadlines.
    if (checks++ % CHECKS_PER_STEP === 0) await page.clock.runFor(STEP_MS);
    return false;
  };
  await until(passed, what);
}

test('a page uses HTTP while sockets are blocked, a socket when one gets through, and HTTP again after that', async () => {
  const person = await newTimedPerson(browser);
  const acknowledged = countAcknowledgements(person);
  const ann = await openTab(person, proxy.url, 'blocked');
  const bob = await openWindow(browser, gateway.url, 'blocked');
  expect([proxy.sockets, proxy.streams]).toEqual([0, 1]);
  await forAll([ann, bob], (page) => untilShown(page, 'views', 2));
  await forAll([ann, bob], (page) => untilShown(page, 'live', 2));
  await like(ann);
  await forAll([ann, bob], (page) => untilShown(page, 'likes', 1));
  await like(bob);
  await forAll([ann, bob], (page) => untilShown(page, 'likes', 2));

  proxy.allowSockets();
  await passTime(ann, () => proxy.sockets === 1, 'a socket replaces the stream');
  await until(() => proxy.streams === 0, 'the stream is closed');
  await like(ann);
  await forAll([ann, bob], (page) => untilShown(page, 'likes', 1));
  await forAll([ann, bob], (page) => untilShown(page, 'live', 2));

  // An operation whose acknowledgement is lost with the socket waits for a socket.
  await until(() => acknowledged() === 1, 'the operation is acknowledged');
  proxy.blockSockets();
  await passTime(ann, () => proxy.streams === 1, 'a stream replaces the socket');
  await like(ann);
  // The page's time has to move, because a probe with a socket may delay the like.
  await passTime(ann, () => isShown(ann, 'likes', 2), 'the like is shown');
  await untilShown(bob, 'likes', 2);
  await forAll([ann, bob], (page) => untilShown(page, 'live', 2));
  await untilLiked(ann, true);
});

test('a like of another tab shows as on while sockets are blocked, and once they are back', async () => {
  proxy.allowSockets();
  const person = await newTimedPerson(browser);
  // Tabs have one actor if the person has liked something before.
  await person.addInitScript("localStorage.setItem('tallycast.actor', '84')");
  const acknowledged = countAcknowledgements(person);
  const ann = await openTab(person, proxy.url, 'turned');
  const tab = await openTab(person, proxy.url, 'turned');
  expect(proxy.sockets).toBe(2);
  await forAll([ann, tab], (page) => untilShown(page, 'views', 2));

  await until(() => acknowledged() === 2, 'the views of both tabs are acknowledged');
  proxy.blockSockets();
  // Tabs share their time.
  await passTime(ann, () => proxy.streams === 2, 'streams replace the sockets');
  await like(tab);
  await untilShown(ann, 'likes', 1);
  await untilLiked(ann, true);
  proxy.allowSockets();
  await passTime(ann, () => proxy.streams === 0, 'sockets replace the streams');
  await untilLiked(ann, true);
});

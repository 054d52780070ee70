import { afterAll, afterEach, beforeAll, expect, test } from '@jest/globals';
import type { Browser, BrowserContext } from 'playwright-core';
import { launchChromium } from '../support/chromium.js';
import { type GatewayProcess, startGateway, stopAll } from '../support/gateway-process.js';
import { until } from '../support/until.js';
import {
  forAll,
  closeWindows,
  untilLiked,
  untilSynced,
  like,
  newPerson,
  openTab,
  openWindow,
  untilShown,
} from './windows.js';

let browser: Browser;
let gateway: GatewayProcess;

beforeAll(async () => {
  [gateway, browser] = await Promise.all([startGateway(), launchChromium()]);
});

afterEach(() => closeWindows(browser));

afterAll(async () => {
  await browser.close();
  await stopAll();
});

/** Collects the likes in all frames to this person's pages. */
function collectLikes(person: BrowserContext): number[] {
  const likes: number[] = [];
  const collect = ({ payload }: { payload: string | Buffer }): void => {
    const text = payload.toString();
    if (!text.startsWith('42["counts"')) return;
    const [, updates] = JSON.parse(text.slice(2)) as [string, { likes: number }[]];
    likes.push(...updates.map((update) => update.likes));
  };
  person.on('page', (page) => page.on('websocket', (socket) => socket.on('framereceived', collect)));
  return likes;
}

test('an operation of one window is in the next frame of the other, and a closed window leaves the viewers', async () => {
  const ann = await openWindow(browser, gateway.url, 'shared');
  const person = await newPerson(browser);
  const frames = collectLikes(person);
  const bob = await openTab(person, gateway.url, 'shared');
  await forAll([ann, bob], (page) => untilShown(page, 'live', 2));
  await forAll([ann, bob], (page) => untilShown(page, 'views', 2));
  const turns = [1, 0, 1, 0, 1];
  for (const count of turns) {
    await like(ann);
    await forAll([ann, bob], (page) => untilShown(page, 'likes', count));
  }
  await untilLiked(ann, true);
  await untilLiked(bob, false);
  // Earlier frames have no like, and frames with other changes repeat the likes. The page shows a frame a moment before the
  // test receives it.
  const sinceFirst = (): number[] => frames.slice(frames.indexOf(1)).filter((likes, i, all) => likes !== all[i - 1]);
  await until(() => sinceFirst().length >= turns.length, 'the test has received all frames');
  expect(sinceFirst()).toEqual(turns);

  await like(bob);
  await forAll([ann, bob], (page) => untilShown(page, 'likes', 2));
  await like(ann);
  await forAll([ann, bob], (page) => untilShown(page, 'likes', 1));
  await untilLiked(ann, false);
  await untilLiked(bob, true);
  await bob.close();
  await untilShown(ann, 'live', 1);
});

test('likes show in both tabs of a person who has liked something, and a reload keeps the like and counts a view', async () => {
  const first = await openWindow(browser, gateway.url, 'tabs');
  await like(first);
  const second = await openTab(first.context(), gateway.url, 'tabs');
  await untilLiked(second, true);
  await forAll([first, second], (page) => untilShown(page, 'likes', 1));
  await forAll([first, second], (page) => untilShown(page, 'views', 2));
  await first.reload();
  await untilSynced(first);
  await untilLiked(first, true);
  await untilShown(first, 'likes', 1);
  await forAll([first, second], (page) => untilShown(page, 'views', 3));
  await like(first);
  await untilLiked(second, false);
  await forAll([first, second], (page) => untilShown(page, 'likes', 0));
});

test('the page runs without an error under the content security policy of the gateway', async () => {
  const page = await (await newPerson(browser)).newPage();
  const complaints: string[] = [];
  page.on('console', (message) => {
    if (message.type() === 'error') complaints.push(message.text());
  });
  page.on('pageerror', (error) => complaints.push(error.message));
  const response = await page.goto(`${gateway.url}/article/?post=policy`);
  await untilSynced(page);
  await like(page);
  await untilLiked(page, true);
  expect(response?.headers()['content-security-policy']).toContain("default-src 'self'");
  expect(complaints).toEqual([]);
});

import { afterAll, afterEach, beforeAll, expect, test } from '@jest/globals';
import type { Browser, BrowserContext } from 'playwright-core';
import { launchChromium } from '../support/chromium.js';
import { type GatewayProcess, startGateway, stopAll } from '../support/gateway-process.js';
import { until } from '../support/until.js';
import { all, closeWindows, isLiked, isLive, like, newPerson, openTab, openWindow, shows } from './windows.js';

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

/** The likes in the frames that this person's pages will be sent. */
function likesInFrames(person: BrowserContext): number[] {
  const likes: number[] = [];
  const hear = ({ payload }: { payload: string | Buffer }): void => {
    const text = payload.toString();
    if (!text.startsWith('42["counts"')) return;
    const [, updates] = JSON.parse(text.slice(2)) as [string, { likes: number }[]];
    likes.push(...updates.map((update) => update.likes));
  };
  person.on('page', (page) => page.on('websocket', (socket) => socket.on('framereceived', hear)));
  return likes;
}

test('what one window does is in the very next frame of the other, and the other leaves as a viewer', async () => {
  const ann = await openWindow(browser, gateway.url, 'shared');
  const person = await newPerson(browser);
  const frames = likesInFrames(person);
  const bob = await openTab(person, gateway.url, 'shared');
  await all([ann, bob], (page) => shows(page, 'live', 2));
  await all([ann, bob], (page) => shows(page, 'views', 2));
  const turns = [1, 0, 1, 0, 1];
  for (const count of turns) {
    await like(ann);
    await all([ann, bob], (page) => shows(page, 'likes', count));
  }
  await isLiked(ann, true);
  await isLiked(bob, false);
  // Frames of before have no like, and frames about other changes repeat the likes. The page shows a frame a moment before
  // the test receives it.
  const sinceFirst = (): number[] => frames.slice(frames.indexOf(1)).filter((likes, i, all) => likes !== all[i - 1]);
  await until(() => sinceFirst().length >= turns.length, 'the test has received all frames');
  expect(sinceFirst()).toEqual(turns);

  await like(bob);
  await all([ann, bob], (page) => shows(page, 'likes', 2));
  await like(ann);
  await all([ann, bob], (page) => shows(page, 'likes', 1));
  await isLiked(ann, false);
  await isLiked(bob, true);
  await bob.close();
  await shows(ann, 'live', 1);
});

test('a second tab of the same person likes in the first, too, and a reload keeps the like and counts a view', async () => {
  const first = await openWindow(browser, gateway.url, 'tabs');
  const second = await openTab(first.context(), gateway.url, 'tabs');
  await like(second);
  await isLiked(first, true);
  await all([first, second], (page) => shows(page, 'likes', 1));
  await all([first, second], (page) => shows(page, 'views', 2));
  await first.reload();
  await isLive(first);
  await isLiked(first, true);
  await shows(first, 'likes', 1);
  await all([first, second], (page) => shows(page, 'views', 3));
  await like(first);
  await isLiked(second, false);
  await all([first, second], (page) => shows(page, 'likes', 0));
});

test('the page runs without an error, under the content security policy that the gateway sends', async () => {
  const page = await (await newPerson(browser)).newPage();
  const complaints: string[] = [];
  page.on('console', (message) => {
    if (message.type() === 'error') complaints.push(message.text());
  });
  page.on('pageerror', (error) => complaints.push(error.message));
  const response = await page.goto(`${gateway.url}/?post=quiet`);
  await isLive(page);
  await like(page);
  await isLiked(page, true);
  expect(response?.headers()['content-security-policy']).toContain("default-src 'self'");
  expect(complaints).toEqual([]);
});

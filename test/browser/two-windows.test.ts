import { afterAll, afterEach, beforeAll, describe, expect, jest, test } from '@jest/globals';
import type { Browser, BrowserContext } from 'playwright-core';
import { launchChromium } from '../support/chromium.js';
import { type GatewayProcess, startGateway, stopAll } from '../support/gateway-process.js';
import { until } from '../support/until.js';
import { all, closeWindows, isLiked, isLive, like, newPerson, openTab, openWindow, shows } from './windows.js';

jest.setTimeout(60_000);

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

describe('two windows', () => {
  test('a like in one window shows in the other, and so does taking it back', async () => {
    const [ann, bob] = [
      await openWindow(browser, gateway.url, 'shared'),
      await openWindow(browser, gateway.url, 'shared'),
    ];
    await all([ann, bob], (page) => shows(page, 'likes', 0));
    await like(ann);
    await all([ann, bob], (page) => shows(page, 'likes', 1));
    await isLiked(ann, true);
    await isLiked(bob, false);
    await like(bob);
    await all([ann, bob], (page) => shows(page, 'likes', 2));
    await like(ann);
    await all([ann, bob], (page) => shows(page, 'likes', 1));
    await isLiked(ann, false);
    await isLiked(bob, true);
  });

  test('what one does is in the very next frame of the other, so they agree within a tick', async () => {
    const ann = await openWindow(browser, gateway.url, 'framed');
    const person = await newPerson(browser);
    const frames = likesInFrames(person);
    const bob = await openTab(person, gateway.url, 'framed');
    await all([ann, bob], (page) => shows(page, 'live', 2));
    await all([ann, bob], (page) => shows(page, 'views', 2));
    const turns = [1, 0, 1, 0, 1];
    for (const count of turns) {
      await like(ann);
      await all([ann, bob], (page) => shows(page, 'likes', count));
    }
    // Frames of before have no like, and those that tell of something else say the likes again; what the pages show is heard of
    // here a moment later.
    const sinceFirst = (): number[] => frames.slice(frames.indexOf(1)).filter((likes, i, all) => likes !== all[i - 1]);
    await until(() => sinceFirst().length >= turns.length, 'all frames are heard of', 15_000);
    expect(sinceFirst()).toEqual(turns);
  });

  test('a second tab of the same person likes in the first, too', async () => {
    const first = await openWindow(browser, gateway.url, 'tabs');
    const second = await openTab(first.context(), gateway.url, 'tabs');
    await like(second);
    await isLiked(first, true);
    await all([first, second], (page) => shows(page, 'likes', 1));
    await like(first);
    await isLiked(second, false);
    await all([first, second], (page) => shows(page, 'likes', 0));
  });

  test('a reload keeps the like and counts a view', async () => {
    const page = await openWindow(browser, gateway.url, 'reloaded');
    await like(page);
    await shows(page, 'likes', 1);
    await shows(page, 'views', 1);
    await page.reload();
    await isLive(page);
    await isLiked(page, true);
    await shows(page, 'likes', 1);
    await shows(page, 'views', 2);
  });

  test('viewers come and go with their windows', async () => {
    const [ann, bob] = [
      await openWindow(browser, gateway.url, 'watched'),
      await openWindow(browser, gateway.url, 'watched'),
    ];
    await all([ann, bob], (page) => shows(page, 'live', 2));
    await bob.close();
    await shows(ann, 'live', 1);
  });

  test('the page runs without an error, under the content security policy that the gateway sends', async () => {
    const page = await (await browser.newContext()).newPage();
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
});

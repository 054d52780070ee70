import type { Browser, BrowserContext, Page } from 'playwright-core';
import { newContext } from '../support/chromium.js';

/** Large enough for the whole article with its counts. */
const VIEWPORT = { width: 1280, height: 1600 };

/** Opens the article for this post in a window of a new person, with its own storage. */
export async function openWindow(browser: Browser, url: string, post: string): Promise<Page> {
  return await openTab(await newPerson(browser), url, post);
}

/** Like `openWindow`, with a page clock that runs by itself and that `page.clock` can move forward. */
export async function openTimedWindow(browser: Browser, url: string, post: string): Promise<Page> {
  return await openTab(await newTimedPerson(browser), url, post);
}

export async function newTimedPerson(browser: Browser): Promise<BrowserContext> {
  const context = await newPerson(browser);
  await context.clock.install();
  return context;
}

export function newPerson(browser: Browser): Promise<BrowserContext> {
  return newContext(browser, { viewport: VIEWPORT });
}

/** Opens a tab of the same person. */
export async function openTab(context: BrowserContext, url: string, post: string): Promise<Page> {
  const page = await context.newPage();
  await page.goto(`${url}/article/?post=${post}`);
  await untilSynced(page);
  return page;
}

/** @returns a function that returns the number of acknowledgements over sockets to this person's later pages */
export function countAcknowledgements(person: BrowserContext): () => number {
  let count = 0;
  const take = ({ payload }: { payload: string | Buffer }): void => {
    if (/^43\d+\[\{"ok":true,"applied"/.test(payload.toString())) count += 1;
  };
  person.on('page', (page) => page.on('websocket', (socket) => socket.on('framereceived', take)));
  return () => count;
}

export async function closeWindows(browser: Browser): Promise<void> {
  for (const context of browser.contexts()) await context.close();
}

export function untilState(page: Page, state: 'syncing' | 'synced'): Promise<void> {
  return page.locator(`[data-testid=state][data-state=${state}]`).waitFor();
}

export function untilSynced(page: Page): Promise<void> {
  return untilState(page, 'synced');
}

const WIDGETS = { likes: 'live-like', views: 'live-count[metric=views]', live: 'live-viewers' } as const;

export function isShown(page: Page, what: keyof typeof WIDGETS, count: number): Promise<boolean> {
  return page.locator(`${WIDGETS[what]}[data-count="${count}"]`).isVisible();
}

/** Resolves when the page shows this number. */
export function untilShown(page: Page, what: keyof typeof WIDGETS, count: number): Promise<void> {
  return page.locator(`${WIDGETS[what]}[data-count="${count}"]`).waitFor();
}

/** Resolves when the page's like is on or off. */
export function untilLiked(page: Page, on: boolean): Promise<void> {
  return page.locator(on ? 'live-like[data-on]' : 'live-like:not([data-on])').waitFor();
}

export async function like(page: Page): Promise<void> {
  await page.locator('live-like').click();
}

/** Resolves when `reached` has resolved for all pages. */
export async function forAll(pages: readonly Page[], reached: (page: Page) => Promise<unknown>): Promise<void> {
  await Promise.all(pages.map(reached));
}

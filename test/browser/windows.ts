import type { Browser, BrowserContext, Page } from 'playwright-core';
import { newContext } from '../support/chromium.js';

/** The whole article is in view, and so are its counts. */
const VIEWPORT = { width: 1280, height: 1600 };

/** A window with a storage of its own, another person's, that shows the article and counts it as this post. */
export async function openWindow(browser: Browser, url: string, post: string): Promise<Page> {
  return await openTab(await newPerson(browser), url, post);
}

/** The same, with the page's time in the test's hands: it goes on by itself, and `page.clock` moves it forward. */
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

/** Another tab of the same person. */
export async function openTab(context: BrowserContext, url: string, post: string): Promise<Page> {
  const page = await context.newPage();
  await page.goto(`${url}/?post=${post}`);
  await isLive(page);
  return page;
}

/** @returns how many operations of this person's pages, opened from now on, were acknowledged over sockets */
export function acknowledgements(person: BrowserContext): () => number {
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

export function hasState(page: Page, state: 'syncing' | 'synced'): Promise<void> {
  return page.locator(`[data-testid=state][data-state=${state}]`).waitFor();
}

export function isLive(page: Page): Promise<void> {
  return hasState(page, 'synced');
}

const WIDGETS = { likes: 'live-like', views: 'live-count[metric=views]', live: 'live-viewers' } as const;

export function isShown(page: Page, what: keyof typeof WIDGETS, count: number): Promise<boolean> {
  return page.locator(`${WIDGETS[what]}[data-count="${count}"]`).isVisible();
}

/** Until the page shows this number. */
export function shows(page: Page, what: keyof typeof WIDGETS, count: number): Promise<void> {
  return page.locator(`${WIDGETS[what]}[data-count="${count}"]`).waitFor();
}

/** Until the page's like is on, or off. */
export function isLiked(page: Page, on: boolean): Promise<void> {
  return page.locator(on ? 'live-like[data-on]' : 'live-like:not([data-on])').waitFor();
}

export async function like(page: Page): Promise<void> {
  await page.locator('live-like').click();
}

/** Until all pages have come so far. */
export async function all(pages: readonly Page[], reached: (page: Page) => Promise<unknown>): Promise<void> {
  await Promise.all(pages.map(reached));
}

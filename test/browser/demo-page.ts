import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import type { AxeResults } from 'axe-core';
import type { Browser, BrowserContextOptions, Page } from 'playwright-core';
import { newContext } from '../support/chromium.js';
import { untilSynced } from './windows.js';

export const DESKTOP = { width: 1280, height: 800 };

export const PHONE = { width: 390, height: 844 };
/** The width of the smallest phones. */
export const NARROW_PX = 320;

const AXE = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
/** Equal to those before them, and too many for axe to check each. */
const MORE_POSTS = '.stories li:nth-child(n + 13)';

export interface Window {
  readonly page: Page;
  /** Errors on the console, including violations of the content security policy. */
  readonly complaints: readonly string[];
}

/** Opens a page of the gateway in a window of a new person, and waits until it is synced. */
export async function openPage(browser: Browser, url: string, options: BrowserContextOptions = {}): Promise<Window> {
  const context = await newContext(browser, { viewport: DESKTOP, ...options });
  const page = await context.newPage();
  const complaints: string[] = [];
  page.on('console', (message) => {
    if (message.type() === 'error') complaints.push(message.text());
  });
  page.on('pageerror', (error) => complaints.push(error.message));
  await page.addInitScript(COLLECT_MOVED);
  await page.goto(url);
  await untilSynced(page);
  return { page, complaints };
}

/** Collects the names of all animations in any frame, inside widgets, too. */
const COLLECT_MOVED = `
  globalThis.moved = new Set();
  (function look() {
    const widgets = document.querySelectorAll('live-count, live-like, live-viewers');
    const trees = [document, ...[...widgets].map(({ shadowRoot }) => shadowRoot).filter(Boolean)];
    for (const { animationName, transitionProperty } of trees.flatMap((tree) => tree.getAnimations())) {
      moved.add(animationName ?? transitionProperty ?? 'animate()');
    }
    requestAnimationFrame(look);
  })();
`;

export function readMoved(page: Page): Promise<string[]> {
  return page.evaluate('[...moved]');
}

interface Counts {
  readonly likes: number;
  readonly views: number;
}

/** Reads the counts over HTTP, summed over the posts. */
export async function readTotals(gateway: string, posts: readonly string[]): Promise<Counts> {
  const answer = await fetch(`${gateway}/v1/counts?posts=${posts.join()}`);
  const { counts } = (await answer.json()) as { counts: readonly Counts[] };
  const sum = (metric: keyof Counts): number => counts.reduce((total, post) => total + post[metric], 0);
  return { likes: sum('likes'), views: sum('views') };
}

export async function likeOverHttp(gateway: string, post: string): Promise<void> {
  const body = JSON.stringify({ action: 'increment' });
  const headers = { 'Content-Type': 'application/json' };
  await fetch(`${gateway}/v1/${post}/likes`, { method: 'PUT', headers, body });
}

/** Reads the number of posts that have a subscriber from the gateway's metrics. */
export async function countWatchedPosts(gateway: string): Promise<number> {
  const metrics = await (await fetch(`${gateway}/metrics`)).text();
  return Number(/^tallycast_watched_posts (\d+)/m.exec(metrics)?.[1]);
}

export function untilHas(page: Page, testId: string, readValue: string): Promise<void> {
  return page.locator(`[data-testid=${testId}]${readValue}`).waitFor();
}

export async function value(page: Page, testId: string, name = 'value'): Promise<number> {
  return Number(await page.getByTestId(testId).getAttribute(`data-${name}`));
}

/**
 * @param without rules that are not checked
 * @returns what axe finds, a line each
 */
export async function findViolations(page: Page, without: readonly string[] = []): Promise<string[]> {
  await page.evaluate(AXE);
  await page.evaluate(`for (const post of document.querySelectorAll('${MORE_POSTS}')) post.remove()`);
  const rules = Object.fromEntries(without.map((rule) => [rule, { enabled: false }]));
  const { violations: found } = await page.evaluate<AxeResults>(`axe.run(${JSON.stringify({ rules })})`);
  return found.flatMap(({ id, nodes }) => nodes.map(({ target }) => `${id}: ${target.join()}`));
}

/** @returns the width of the content in a window of this width */
export async function readContentWidth(page: Page, width: number): Promise<number> {
  await page.setViewportSize({ width, height: PHONE.height });
  // Plots are drawn again in a frame after that of the new size.
  return page.evaluate<number>(`new Promise((resolve) => {
    let frames = 3;
    const next = () => (frames-- > 0 ? requestAnimationFrame(next) : resolve(document.documentElement.scrollWidth));
    next();
  })`);
}

/** Sends the simulated readers of the page away. */
export async function dismissReaders(page: Page): Promise<void> {
  await page.getByTestId('readers').uncheck();
}

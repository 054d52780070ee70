import type { Browser, BrowserContextOptions, Page } from 'playwright-core';
import { newContext } from '../support/chromium.js';
import { isLive } from './windows.js';

export const DESKTOP = { width: 1280, height: 800 };

export interface Window {
  readonly page: Page;
  /** Errors of the console, violations of the content security policy among them. */
  readonly complaints: readonly string[];
}

/** A window of another person, on this page of the gateway's, connected. */
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
  await isLive(page);
  return { page, complaints };
}

/** Names whatever moved in any frame, inside widgets, too. */
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

export function moved(page: Page): Promise<string[]> {
  return page.evaluate('[...moved]');
}

interface Counts {
  readonly likes: number;
  readonly views: number;
}

/** What the gateway tells anybody over HTTP, summed over the posts. */
export async function counted(gateway: string, posts: readonly string[]): Promise<Counts> {
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

/** Subscriptions to posts, of all connections together, as the gateway counts them. */
export async function subscriptions(gateway: string): Promise<number> {
  const metrics = await (await fetch(`${gateway}/metrics`)).text();
  return Number(/^tallycast_viewers\{of="connections"\} (\d+)/m.exec(metrics)?.[1]);
}

export function has(page: Page, testId: string, value: string): Promise<void> {
  return page.locator(`[data-testid=${testId}]${value}`).waitFor();
}

export async function value(page: Page, testId: string): Promise<number> {
  return Number(await page.getByTestId(testId).getAttribute('data-value'));
}

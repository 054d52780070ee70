import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import type { Browser, BrowserContextOptions, Page } from 'playwright-core';
import { newContext } from '../support/chromium.js';

const AXE = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
/** Functions in every page: violations of its security policy, and the animations of the digits. */
const IN_PAGE = `
  globalThis.violations = [];
  addEventListener('securitypolicyviolation', (event) => violations.push(event.violatedDirective + ' ' + event.blockedURI));
  globalThis.widgets = () => [...document.querySelectorAll('live-choice, live-count, live-like, live-viewers')];
  globalThis.animations = () => widgets().flatMap(({ shadowRoot }) => shadowRoot?.getAnimations() ?? []);
  globalThis.frames = (count) => new Promise((resolve) => {
    const next = () => (count-- > 0 ? requestAnimationFrame(next) : resolve());
    next();
  });
`;

/** Loads the widgets later than the page, as a call in it. */
export const LOAD = "import('/client/tallycast.js').then(() => undefined)";
export const SCRIPT = '<script type="module" src="/client/tallycast.js"></script>';

export interface WidgetsPage {
  readonly page: Page;
  /** Resolves with the page's errors and the violations of its security policy. */
  readonly complaints: () => Promise<string[]>;
}

/** Opens a page of the gateway's origin with `body`, under a strict security policy, in a new window. */
export async function openWidgets(
  browser: Browser,
  url: string,
  body: string,
  options: BrowserContextOptions = {},
): Promise<WidgetsPage> {
  const context = await newContext(browser, options);
  // Chromium does not treat a page from a route as local, and would block its requests to 127.0.0.1.
  await context.grantPermissions(['local-network-access']);
  await context.addInitScript(IN_PAGE);
  const page = await context.newPage();
  const errors: string[] = [];
  page.on('pageerror', ({ message }) => errors.push(message));
  const policy = `default-src 'self'; connect-src 'self' ${url.replace('http', 'ws')}; require-trusted-types-for 'script'`;
  const html = `<!doctype html><html lang="en"><title>Widgets</title><link rel="stylesheet" href="/widgets.css">${body}</html>`;
  await context.route(`${url}/widgets`, (route) =>
    route.fulfill({
      contentType: 'text/html; charset=utf-8',
      headers: { 'Content-Security-Policy': policy },
      body: html,
    }),
  );
  await context.route(`${url}/widgets.css`, (route) =>
    route.fulfill({ contentType: 'text/css', body: 'body { color-scheme: light dark } .row { block-size: 40px }' }),
  );
  await page.goto(`${url}/widgets`);
  return { page, complaints: async () => [...errors, ...(await page.evaluate<string[]>('violations'))] };
}

/** Animations of the page take ten times as long, so that a slow machine draws a frame of each. */
export async function slowDownAnimations(page: Page): Promise<void> {
  const cdp = await page.context().newCDPSession(page);
  await cdp.send('Animation.enable');
  await cdp.send('Animation.setPlaybackRate', { playbackRate: 0.1 });
}

/** Resolves when the widget has this number. */
export async function untilCount(page: Page, widget: string, count: number): Promise<void> {
  await page.locator(`${widget}[data-count="${count}"]`).first().waitFor();
}

/** @returns the violations that axe finds, a line each */
export async function findAccessibilityFaults(page: Page): Promise<string[]> {
  await page.evaluate(`{ const module = undefined; ${AXE} }`);
  return page.evaluate<string[]>(
    'axe.run().then(({ violations }) => violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html)}`))',
  );
}

/**
 * Call it before the page loads the widgets.
 * @returns the posts that the page watches over its socket, each with whether the page makes its reader present
 */
export function recordWatched(page: Page): ReadonlyMap<string, boolean> {
  const watched = new Map<string, boolean>();
  page.on('websocket', (socket) => {
    watched.clear();
    socket.on('framesent', ({ payload }) => {
      const [, json] = /^42\d*(\["(?:un)?subscribe".*)$/.exec(payload.toString()) ?? [];
      if (json === undefined) return;
      const [name, { posts, present = true }] = JSON.parse(json) as [string, { posts: string[]; present?: boolean }];
      for (const post of posts) {
        if (name === 'subscribe') watched.set(post, present);
        else watched.delete(post);
      }
    });
  });
  return watched;
}

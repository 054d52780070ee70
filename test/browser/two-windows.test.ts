import { afterAll, afterEach, beforeAll, describe, expect, jest, test } from '@jest/globals';
import { type Browser, chromium, type Page } from 'playwright-core';
import { type GatewayProcess, startGateway, stopAll } from '../support/gateway-process.js';
import { until } from '../support/until.js';

const WAIT_MS = 15_000;
/** Several ticks, and as many operations of the simulation as make a standstill by chance unthinkable. */
const STILL_MS = 600;

const ARGS = [
  '--headless',
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];

jest.setTimeout(60_000);

let browser: Browser;
let gateway: GatewayProcess;

beforeAll(async () => {
  gateway = await startGateway();
  const executablePath = process.env['CHROMIUM_BIN'] ?? '/usr/bin/chromium';
  browser = await chromium.launch({ executablePath, args: ARGS });
});

afterEach(async () => {
  for (const context of browser.contexts()) await context.close();
});

afterAll(async () => {
  await browser.close();
  await stopAll();
});

/** A window with a storage of its own: another person. */
async function openWindow(post: string): Promise<Page> {
  const context = await browser.newContext();
  context.setDefaultTimeout(WAIT_MS);
  const page = await context.newPage();
  await page.goto(`${gateway.url}/?post=${post}`);
  await isLive(page);
  return page;
}

function shown(page: Page, element: string, attribute: string): Promise<void> {
  return page.locator(`[data-testid=${element}][${attribute}]`).waitFor();
}

function isLive(page: Page): Promise<void> {
  return shown(page, 'state', 'data-state=synced');
}

function counted(page: Page, what: 'likes' | 'views' | 'live', count: number): Promise<void> {
  return shown(page, what, `data-value="${count}"`);
}

function pressed(page: Page, on: boolean): Promise<void> {
  return shown(page, 'like', `aria-pressed=${on}`);
}

async function like(page: Page): Promise<void> {
  await page.getByTestId('like').click();
}

async function both(pages: readonly Page[], condition: (page: Page) => Promise<void>): Promise<void> {
  await Promise.all(pages.map(condition));
}

/** Likes, views and viewers of the list, row by row. */
function figures(page: Page): Promise<string[]> {
  return page.getByTestId('post-row').locator('[data-metric]').allTextContents();
}

async function standStill(page: Page): Promise<void> {
  let last = '';
  let since = performance.now();
  const still = async (): Promise<boolean> => {
    const now = (await figures(page)).join();
    if (now !== last) since = performance.now();
    last = now;
    return performance.now() - since >= STILL_MS;
  };
  await until(still, 'the figures stand still', WAIT_MS);
}

describe('two windows', () => {
  test('a like in one window shows in the other, and so does taking it back', async () => {
    const [ann, bob] = [await openWindow('shared'), await openWindow('shared')];
    await both([ann, bob], (page) => counted(page, 'likes', 0));
    await like(ann);
    await both([ann, bob], (page) => counted(page, 'likes', 1));
    await pressed(ann, true);
    await pressed(bob, false);
    await like(bob);
    await both([ann, bob], (page) => counted(page, 'likes', 2));
    await like(ann);
    await both([ann, bob], (page) => counted(page, 'likes', 1));
    await pressed(ann, false);
    await pressed(bob, true);
  });

  test('a second tab of the same person presses the button in the first', async () => {
    const first = await openWindow('tabs');
    const second = await first.context().newPage();
    await second.goto(first.url());
    await isLive(second);
    await like(second);
    await pressed(first, true);
    await both([first, second], (page) => counted(page, 'likes', 1));
  });

  test('a reload keeps the like and counts a view', async () => {
    const page = await openWindow('reloaded');
    await like(page);
    await counted(page, 'likes', 1);
    await counted(page, 'views', 1);
    await page.reload();
    await isLive(page);
    await pressed(page, true);
    await counted(page, 'likes', 1);
    await counted(page, 'views', 2);
  });

  test('viewers come and go with their windows', async () => {
    const [ann, bob] = [await openWindow('watched'), await openWindow('watched')];
    await both([ann, bob], (page) => counted(page, 'live', 2));
    await bob.close();
    await counted(ann, 'live', 1);
  });

  test('the page runs without an error, under the content security policy that the gateway sends', async () => {
    const context = await browser.newContext();
    const page = await context.newPage();
    const complaints: string[] = [];
    page.on('console', (message) => {
      if (message.type() === 'error') complaints.push(message.text());
    });
    page.on('pageerror', (error) => complaints.push(error.message));
    const response = await page.goto(`${gateway.url}/`);
    await isLive(page);
    await like(page);
    await pressed(page, true);
    expect(response?.headers()['content-security-policy']).toContain("default-src 'self'");
    expect(complaints).toEqual([]);
  });

  test('the simulation moves the list for everyone until it is stopped', async () => {
    const [ann, bob] = [await openWindow('idle'), await openWindow('idle')];
    const before = await figures(ann);
    await ann.getByTestId('simulate').click();
    const severalChanged = async (): Promise<boolean> =>
      (await figures(bob)).filter((figure, i) => figure !== before[i]).length >= 8;
    await until(severalChanged, 'figures of several posts have changed', WAIT_MS);
    const readOut = async (): Promise<boolean> => Number(await ann.getByTestId('ops').textContent()) > 0;
    await until(readOut, 'operations a second are read out', WAIT_MS);
    await ann.getByTestId('simulate').click();
    await both([ann, bob], standStill);
    expect(await figures(bob)).toEqual(await figures(ann));
  });
});

describe('a gateway that is killed and started again', () => {
  async function restart(): Promise<void> {
    gateway = await startGateway({ PORT: String(gateway.port), DATA_DIR: gateway.dataDir });
  }

  test('both windows recover by themselves, and likes made meanwhile are counted once', async () => {
    const [ann, bob] = [await openWindow('killed'), await openWindow('killed')];
    const pages = [ann, bob];
    await like(ann);
    await both(pages, (page) => counted(page, 'likes', 1));
    await both(pages, (page) => counted(page, 'views', 2));

    await gateway.kill('SIGKILL');
    await both(pages, (page) => shown(page, 'state', 'data-state=syncing'));
    await like(bob);
    await pressed(bob, true);
    await like(ann);
    await like(ann);
    await pressed(ann, true);
    await restart();

    await both(pages, isLive);
    await both(pages, (page) => counted(page, 'likes', 2));
    await both(pages, (page) => counted(page, 'live', 2));
    await both(pages, (page) => page.reload().then(() => isLive(page)));
    await both(pages, (page) => pressed(page, true));
    await both(pages, (page) => counted(page, 'likes', 2));
    await both(pages, (page) => counted(page, 'views', 4));
  });

  test('who comes back sees how many viewers are left', async () => {
    const [ann, bob] = [await openWindow('left'), await openWindow('left')];
    await both([ann, bob], (page) => counted(page, 'live', 2));
    await gateway.kill('SIGKILL');
    await bob.close();
    await restart();
    await isLive(ann);
    await counted(ann, 'live', 1);
  });
});

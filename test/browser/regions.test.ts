import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { AxeResults } from 'axe-core';
import type { Browser, Page } from 'playwright-core';
import { WebSocket } from 'ws';
import { launchChromium } from '../support/chromium.js';
import { ROOT } from '../support/gateway-process.js';
import { Processes } from '../support/processes.js';
import { DESKTOP, untilHas, readMoved, openPage, type Window } from './demo-page.js';
import { closeWindows } from './windows.js';

const PHONE = { width: 390, height: 844 };
const REGIONS = ['eu', 'us', 'ap'] as const;

const processes = new Processes();
let browser: Browser;
let axe: string;
/** The page's address, and the drill that runs its regions. */
let address: string;
let drill: ReturnType<Processes['start']>;

beforeAll(async () => {
  const launched = launchChromium();
  axe = await readFile(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
  drill = processes.start(process.execPath, [join(ROOT, 'dist', 'drill', 'main.js'), '--page'], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  for await (const line of createInterface({ input: drill.child.stdout! })) {
    const [found] = /http\S+\/regions\/\S+/.exec(line) ?? [];
    if (found === undefined) continue;
    address = found;
    break;
  }
  browser = await launched;
});

afterAll(async () => {
  await browser.close();
  drill.child.kill('SIGTERM');
  await drill.closed;
  await processes.end();
});

async function untilAllShow(page: Page, metric: 'likes' | 'views', counts: readonly number[]): Promise<void> {
  await Promise.all(REGIONS.map((region, i) => untilHas(page, `${metric}-${region}`, `[data-count="${counts[i]!}"]`)));
}

async function click(page: Page, ...buttons: readonly string[]): Promise<void> {
  for (const button of buttons) await page.getByTestId(button).click();
}

async function findViolations(page: Page): Promise<string[]> {
  await page.evaluate(axe);
  const { violations: found } = await page.evaluate<AxeResults>('axe.run()');
  return found.flatMap(({ id, nodes }) => nodes.map(({ target }) => `${id}: ${target.join()}`));
}

describe('three regions whose cables are pulled', () => {
  afterAll(() => closeWindows(browser));

  test('regions show their own counts while they are cut off, and the same when they are connected again', async () => {
    const { page, complaints } = await openPage(browser, `${address}&post=pulled`);
    await page.getByText('All three agree.').waitFor();
    await click(page, 'like-us', 'view-us');
    await untilAllShow(page, 'likes', [1, 1, 1]);
    await untilAllShow(page, 'views', [1, 1, 1]);

    await click(page, 'cable-eu-us', 'cable-eu-ap');
    await page.getByText('eu is cut off from both others').waitFor();
    await click(page, 'like-eu', 'view-eu', 'view-eu', 'view-us', 'like-ap');
    await untilAllShow(page, 'likes', [2, 2, 2]);
    await untilAllShow(page, 'views', [3, 2, 2]);

    await click(page, 'cable-us-ap');
    await page.getByText('Each region is alone').waitFor();
    await click(page, 'view-us', 'view-ap', 'like-ap');
    await untilAllShow(page, 'likes', [2, 2, 1]);
    await untilAllShow(page, 'views', [3, 3, 3]);

    await click(page, 'cable-eu-us', 'cable-us-ap', 'cable-eu-ap');
    await page.getByText('s after the last cable was plugged in.').waitFor();
    await untilAllShow(page, 'likes', [2, 2, 2]);
    await untilAllShow(page, 'views', [6, 6, 6]);
    expect(complaints).toEqual([]);
  });

  test('cables are pulled by the keyboard, and other windows show it', async () => {
    const { page } = await openPage(browser, `${address}&post=keyboard`);
    const { page: other } = await openPage(browser, `${address}&post=keyboard`);
    await page.getByTestId('cable-us-ap').focus();
    await page.keyboard.press('Enter');
    await untilHas(other, 'cable-us-ap', '[aria-pressed=true]');
    await other.getByText('us and ap are disconnected').waitFor();
    await page.keyboard.press('Space');
    await other.getByText('All three agree').waitFor();
  });

  test('cables cannot be pulled from pages of other origins', async () => {
    const port = new URL(address).searchParams.get('drill')!;
    const socket = new WebSocket(`ws://127.0.0.1:${port}`, { origin: 'https://elsewhere.example' });
    const error = await new Promise<Error>((resolve) => socket.once('error', resolve));
    expect(error.message).toBe('Unexpected server response: 401');
  });
});

describe('the page', () => {
  let window: Window;

  beforeAll(async () => {
    window = await openPage(browser, `${address}&post=looks`, { reducedMotion: 'reduce' });
    await click(window.page, 'cable-eu-ap', 'view-eu');
    await untilHas(window.page, 'views-us', '[data-count="1"]');
  });

  afterAll(async () => {
    await click(window.page, 'cable-eu-ap');
    await closeWindows(browser);
  });

  test('the page moves nothing under reduced motion while numbers change', async () => {
    expect(await readMoved(window.page)).toEqual([]);
  });

  test.each([
    ['light', 'a desktop', DESKTOP],
    ['dark', 'a phone', PHONE],
  ] as const)('axe finds no violation on the %s page on %s', async (colorScheme, _device, size) => {
    await window.page.emulateMedia({ colorScheme });
    await window.page.setViewportSize(size);
    expect(await findViolations(window.page)).toEqual([]);
  });

  test('the page is no wider than a phone', async () => {
    await window.page.setViewportSize(PHONE);
    expect(await window.page.evaluate('document.documentElement.scrollWidth')).toBe(PHONE.width);
  });
});

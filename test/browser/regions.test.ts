import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { Browser, Page } from 'playwright-core';
import { WebSocket } from 'ws';
import { launchChromium } from '../support/chromium.js';
import { ROOT } from '../support/gateway-process.js';
import { Processes } from '../support/processes.js';
import { until } from '../support/until.js';
import {
  DESKTOP,
  findViolations,
  NARROW_PX,
  openPage,
  PHONE,
  readContentWidth,
  readMoved,
  untilHas,
  value,
  type Window,
} from './demo-page.js';
import { closeWindows } from './windows.js';

const REGIONS = ['eu', 'us', 'ap'] as const;

const processes = new Processes();
let browser: Browser;
/** The page's address, and the drill that runs its regions. */
let address: string;
let drill: ReturnType<Processes['start']>;

beforeAll(async () => {
  const launched = launchChromium();
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

  test.each([NARROW_PX, PHONE.width])('nothing is wider than a phone of %i px', async (width) => {
    expect(await readContentWidth(window.page, width)).toBe(width);
  });
});

describe('the first page', () => {
  afterAll(() => closeWindows(browser));

  test('a gateway that is killed with -9 loses and doubles nothing of what it acknowledged', async () => {
    const { page } = await openPage(browser, address.replace('/regions/', '/'));
    await until(async () => (await value(page, 'acknowledged')) > 20, 'the readers are counted');
    await page.getByTestId('kill').click();
    await page.getByTestId('like').click();
    await page.locator('[data-testid=killed][data-seconds]').waitFor();
    const before = await value(page, 'acknowledged');
    await untilHas(page, 'number', ':not([data-count="0"])');
    await page.locator('[data-testid=like][data-on]').waitFor();
    await until(async () => (await value(page, 'acknowledged')) > before + 20, 'the readers are counted again');
    await page.getByTestId('readers').uncheck();
    await until(
      async () => (await value(page, 'counted')) === (await value(page, 'acknowledged')),
      'all acknowledged operations are counted',
    );
    expect([await value(page, 'lost'), await value(page, 'doubled')]).toEqual([0, 0]);
    await page.getByRole('link', { name: 'Regions', exact: true }).first().click();
    await page.getByText('All three agree.').waitFor();
  });
});

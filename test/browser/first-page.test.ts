import { afterAll, afterEach, beforeAll, expect, test } from '@jest/globals';
import type { Browser, Page } from 'playwright-core';
import { startAddressedProxy } from '../support/addressed-proxy.js';
import { launchChromium, launchTabs, newContext } from '../support/chromium.js';
import { type GatewayProcess, startGateway, stopAll } from '../support/gateway-process.js';
import { until } from '../support/until.js';
import { DESKTOP, dismissReaders, NARROW_PX, openPage, PHONE, readTotals, untilHas, value } from './demo-page.js';
import { closeWindows } from './windows.js';

/** The page, Ann and Bob. */
const WITHOUT_READERS = 3;
const READERS = 12;
/** Half of the defaults: two visitors may share an address. */
const HALF_LIMITS = {
  MAX_OPS_PER_CONNECTION: '25',
  MAX_OPS_PER_ADDRESS: '250',
  MAX_CONNECTIONS_PER_ADDRESS: '100',
  MAX_NEW_POSTS_PER_ADDRESS: '150',
  MAX_NEW_ACTORS_PER_ADDRESS: '100',
};

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

async function open(): Promise<{ page: Page; post: string }> {
  const { page } = await openPage(browser, `${gateway.url}/`);
  return { page, post: await readPost(page) };
}

interface OpenedPage {
  readonly page: Page;
  readonly post: string;
  /** A like of a reader that has just left may still be counted afterwards. */
  readonly likes: number;
}

/** Opens the page and sends its readers away. */
async function openAlone(): Promise<OpenedPage> {
  const { page, post } = await open();
  await dismissReaders(page);
  await until(async () => (await readViewers(post)) === WITHOUT_READERS, 'the readers have left');
  const { likes } = await readTotals(gateway.url, [post]);
  await untilHas(page, 'number', `[data-count="${likes}"]`);
  return { page, post, likes };
}

/** Waits until these show the likes of the gateway, which has at least this many. */
function untilAllShow(page: Page, post: string, names: readonly string[], least: number): Promise<void> {
  return until(
    async () => {
      const { likes } = await readTotals(gateway.url, [post]);
      const shown = await Promise.all(names.map((name) => value(page, name, 'count')));
      return likes >= least && shown.every((count) => count === likes);
    },
    `${names.join(', ')} show at least ${least} likes`,
  );
}

async function readPost(page: Page): Promise<string> {
  return (await page.locator('[data-testid=number][post]').getAttribute('post'))!;
}

async function readViewers(post: string): Promise<number> {
  const answer = await fetch(`${gateway.url}/v1/${post}/live`);
  return ((await answer.json()) as { count: number }).count;
}

async function untilEqual(page: Page): Promise<void> {
  await until(
    async () => (await value(page, 'counted')) === (await value(page, 'acknowledged')),
    'the sum is an equation',
  );
}

test('simulated readers move the number at once, leave when they are switched off, and the sum is exact', async () => {
  const { page, post } = await open();
  await until(async () => (await readViewers(post)) > READERS, 'readers are here');
  await until(async () => (await value(page, 'acknowledged')) > 50, 'the readers are counted');
  await dismissReaders(page);
  await until(async () => (await readViewers(post)) === WITHOUT_READERS, 'the readers have left');
  const { likes, views } = await readTotals(gateway.url, [post]);
  await untilHas(page, 'number', `[data-count="${likes}"]`);
  for (const figure of ['acknowledged', 'counted']) await untilHas(page, figure, `[data-value="${likes + views}"]`);
  for (const figure of ['lost', 'doubled']) await untilHas(page, figure, '[data-value="0"]');
});

test('an operation that this page did not make shows as doubled', async () => {
  const { page, post } = await open();
  await dismissReaders(page);
  await untilHas(page, 'counted', '[data-value]');
  await fetch(`${gateway.url}/v1/${post}/views`, { method: 'PUT', body: '{"action":"increment"}' });
  await untilHas(page, 'doubled', '[data-value="1"]');
  await untilHas(page, 'lost', '[data-value="0"]');
  await page.locator('[data-testid=sum][data-wrong]').waitFor();
});

test('a like is timed to its acknowledgement and to the other phone', async () => {
  const { page, post, likes } = await openAlone();
  await page.getByTestId('like-bob').click();
  await page.getByText('on Ann’s phone after').waitFor();
  await untilAllShow(page, post, ['likes-ann'], likes + 1);
  await page.getByTestId('like').click();
  await page.getByText('on Bob’s phone after').waitFor();
  await untilAllShow(page, post, ['number', 'likes-ann', 'likes-bob'], likes + 2);
});

test('a like is not timed while a phone is unplugged', async () => {
  const { page } = await openAlone();
  const latency = page.getByTestId('latency');
  const press = (who: string): Promise<void> => page.getByTestId(`like-${who}`).click();
  await page.getByRole('button', { name: 'Unplug Bob' }).click();
  await press('ann');
  await latency.getByText('Bob’s phone gets it when it is plugged in').waitFor();
  await page.getByRole('button', { name: 'Plug in Bob' }).click();
  await latency.getByText('Bob’s phone got it when it was plugged in').waitFor();
  await page.getByRole('button', { name: 'Unplug Bob' }).click();
  await press('bob');
  await latency.getByText('Bob’s like waits').waitFor();
  await page.getByRole('button', { name: 'Plug in Bob' }).click();
  await latency.getByText('Bob’s like was counted when he was plugged in').waitFor();
  expect(await latency.getAttribute('data-shown-ms')).toBeNull();
  await press('ann');
  await latency.getByText('Ann’s like: acknowledged after').getByText('on Bob’s phone after').waitFor();
});

test('the readers are named, and nothing waits is said of an unplugged phone only', async () => {
  const { page } = await open();
  await page.getByText(/^\d+ simulated, Ann, Bob and you$/).waitFor();
  await dismissReaders(page);
  await page.getByText(/^Ann, Bob and you$/).waitFor();
  expect(await page.getByTestId('waiting-bob').textContent()).toBe('');
  await page.getByRole('button', { name: 'Unplug Bob' }).click();
  await page.getByText(/^Ann and you$/).waitFor();
  expect(await page.getByTestId('waiting-bob').textContent()).toBe('nothing waits');
});

test('an unplugged phone goes on, waits, and agrees when it is plugged in', async () => {
  const { page, post, likes } = await openAlone();
  await page.getByRole('button', { name: 'Unplug Bob' }).click();
  await page.getByText('Bob is unplugged').waitFor();
  await page.getByTestId('like-ann').click();
  await page.getByTestId('like-bob').click();
  await untilHas(page, 'waiting-bob', '[data-value="1"]');
  await untilAllShow(page, post, ['likes-ann', 'likes-bob'], likes + 1);
  await page.getByRole('button', { name: 'Plug in Bob' }).click();
  await untilAllShow(page, post, ['number', 'likes-ann', 'likes-bob'], likes + 2);
  await page.getByText('Both are live and agree').waitFor();
  await untilEqual(page);
});

test('the sum is shown from the first acknowledgement on', async () => {
  const page = await (await newContext(browser)).newPage();
  await page.addInitScript(`
    globalThis.sums = new Set();
    (function look() {
      sums.add(document.querySelector('[data-testid=acknowledged]')?.textContent);
      requestAnimationFrame(look);
    })();
  `);
  await page.goto(`${gateway.url}/`);
  await until(async () => (await value(page, 'acknowledged')) > 0, 'the sum is shown');
  expect(await page.evaluate<string[]>('[...sums]')).not.toContain('0');
});

test.each([NARROW_PX, PHONE.width, DESKTOP.width])(
  'likes and cables move nothing on a page of %i px',
  async (width) => {
    const { page } = await openAlone();
    await page.setViewportSize({ width, height: DESKTOP.height });
    const measureTop = (): Promise<number> =>
      page.evaluate('document.querySelector(".ways").getBoundingClientRect().top + scrollY');
    await page.getByText('Both are live and agree').waitFor();
    const before = await measureTop();
    const isStill = async (): Promise<void> => expect(await measureTop()).toBe(before);
    await page.getByTestId('like-bob').click();
    await page.getByText('on Ann’s phone after').waitFor();
    await isStill();
    await page.getByRole('button', { name: 'Unplug Bob' }).click();
    await page.getByText('Bob is unplugged').waitFor();
    await isStill();
    await page.getByTestId('like-ann').click();
    await page.getByText('Bob’s phone gets it when').waitFor();
    await isStill();
    await page.getByTestId('like-bob').click();
    await page.getByText('Bob’s like waits').waitFor();
    await isStill();
  },
);

test('a page without a drill has no button to kill, and says how to start one', async () => {
  const { page } = await open();
  expect(await page.getByTestId('kill').isVisible()).toBe(false);
  await page.getByText('npm run drill -- --page').waitFor();
});

test('simulated readers leave a hidden page', async () => {
  const tabs = await launchTabs();
  try {
    const page = await tabs.context.newPage();
    await page.goto(`${gateway.url}/`);
    const post = await readPost(page);
    await until(async () => (await readViewers(post)) > READERS, 'readers are here');
    const other = await tabs.context.newPage();
    await other.bringToFront();
    await until(async () => (await readViewers(post)) <= WITHOUT_READERS, 'the readers have left');
    await page.bringToFront();
    await until(async () => (await readViewers(post)) > READERS, 'readers are here again');
  } finally {
    await tabs.close();
  }
});

async function countOperations(url: string, result: string): Promise<number> {
  const metrics = await (await fetch(`${url}/metrics`)).text();
  const found = metrics.matchAll(new RegExp(`^tallycast_operations_total{.*result="${result}"} (\\d+)`, 'gm'));
  return [...found].reduce((total, [, count]) => total + Number(count), 0);
}

test('a visitor stays below half of each default limit of an address', async () => {
  const limited = await startGateway({ TRUST_PROXY: 'loopback', ...HALF_LIMITS });
  const proxy = await startAddressedProxy(limited, '203.0.113.9');
  try {
    const { page, complaints } = await openPage(browser, `${proxy.url}/`);
    await until(async () => (await value(page, 'acknowledged')) > 200, 'the readers of the first page are counted');
    for (const path of ['feed', 'wall']) {
      await page.goto(`${proxy.url}/${path}/`);
      const before = await countOperations(limited.url, 'applied');
      await until(
        async () => (await countOperations(limited.url, 'applied')) > before + 50,
        'the readers of the page are counted',
      );
    }
    expect(await countOperations(limited.url, 'RATE_LIMITED')).toBe(0);
    expect(complaints).toEqual([]);
  } finally {
    proxy.close();
  }
});

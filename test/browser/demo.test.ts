import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import type { AxeResults } from 'axe-core';
import type { Browser, BrowserContextOptions, Page } from 'playwright-core';
import { launchChromium } from '../support/chromium.js';
import { type GatewayProcess, startGateway, stopAll } from '../support/gateway-process.js';
import { until } from '../support/until.js';
import {
  counted,
  DESKTOP,
  has,
  likeOverHttp,
  moved,
  openPage,
  subscriptions,
  value,
  type Window,
} from './demo-page.js';
import { all, closeWindows } from './windows.js';

const PHONE = { width: 390, height: 844 };
/** How far around the window posts may be watched: its own height. */
const MARGIN_PX = DESKTOP.height;
const SCROLL_PX = 10_000;
/** Made like those before them, and too many for axe to look at each. */
const MORE_POSTS = '.stories li:nth-child(n + 13)';

let browser: Browser;
let gateway: GatewayProcess;
let axe: string;

beforeAll(async () => {
  axe = await readFile(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
  [gateway, browser] = await Promise.all([startGateway(), launchChromium()]);
});

afterAll(async () => {
  await browser.close();
  await stopAll();
});

function open(path: string, options?: BrowserContextOptions): Promise<Window> {
  return openPage(browser, gateway.url + path, options);
}

async function violations(page: Page): Promise<string[]> {
  await page.evaluate(axe);
  await page.evaluate(`for (const post of document.querySelectorAll('${MORE_POSTS}')) post.remove()`);
  const { violations: found } = await page.evaluate<AxeResults>('axe.run()');
  return found.flatMap(({ id, nodes }) => nodes.map(({ target }) => `${id}: ${target.join()}`));
}

/** On each page, what makes numbers change; resolves when they have. */
const CHANGES: Readonly<Record<string, (page: Page) => Promise<void>>> = {
  '/': async (page) => {
    await page.locator('live-like').click();
    await has(page, 'state', '[data-state=synced]');
    await likeOverHttp(gateway.url, 'welcome');
    await page.locator('live-like[data-count="2"]').waitFor();
  },
  '/feed/': async (page) => {
    await page.locator('live-like[post=story-2][data-count]').waitFor();
    await likeOverHttp(gateway.url, 'story-2');
    await page.locator('live-like[post=story-2][data-count="1"]').waitFor();
  },
  '/wall/': async (page) => {
    await page.getByTestId('burst-4').click();
    await page.locator('[data-testid=acknowledged]:not([data-value="0"])').waitFor();
    await page.locator('[data-testid=frames]:not([data-value="0"])').waitFor();
  },
  '/cable/': async (page) => {
    await page.getByTestId('view-ann').click();
    await has(page, 'views-bob', '[data-count="1"]');
    await page.getByTestId('pull-ann').click();
    await page.getByTestId('view-ann').click();
    await has(page, 'waiting-ann', '[data-value="1"]');
    await page.getByTestId('pull-ann').click();
    await has(page, 'views-bob', '[data-count="2"]');
  },
};

describe.each(Object.keys(CHANGES))('%s', (path) => {
  let window: Window;

  beforeAll(async () => {
    window = await open(path, { reducedMotion: 'reduce' });
  });

  afterAll(() => closeWindows(browser));

  test('moves nothing under reduced motion while numbers change', async () => {
    await CHANGES[path]!(window.page);
    expect(await moved(window.page)).toEqual([]);
  });

  test.each([
    ['light', 'a desktop', DESKTOP],
    ['dark', 'a phone', PHONE],
  ] as const)('axe finds nothing when it is %s, on %s', async (colorScheme, _device, size) => {
    await window.page.emulateMedia({ colorScheme });
    await window.page.setViewportSize(size);
    expect(await violations(window.page)).toEqual([]);
  });

  test('nothing is wider than a phone', async () => {
    await window.page.setViewportSize(PHONE);
    expect(await window.page.evaluate('document.documentElement.scrollWidth')).toBe(PHONE.width);
  });

  test('the console has no error, and no violation of the content security policy', () => {
    expect(window.complaints).toEqual([]);
  });
});

test('the page of regions says how to start them where there are none', async () => {
  const { page, complaints } = await open('/regions/');
  await page.getByText('npm run drill -- --page starts three regions').waitFor();
  expect(await page.getByTestId('pane-eu').isVisible()).toBe(false);
  expect(await violations(page)).toEqual([]);
  expect(complaints).toEqual([]);
  await closeWindows(browser);
});

describe('the article', () => {
  afterEach(() => closeWindows(browser));

  test('numbers roll where motion is welcome', async () => {
    const { page } = await open('/?post=rolling');
    await page.locator('live-like[data-count="0"]').waitFor();
    await page.locator('live-like').scrollIntoViewIfNeeded();
    // Whatever moves for a shorter time than a slow machine takes for a frame is not seen.
    await until(async () => {
      await likeOverHttp(gateway.url, 'rolling');
      return (await moved(page)).length > 0;
    }, 'something moved');
  });

  test('the article copies the code of its own post', async () => {
    const { page } = await open('/?post=copied');
    await page.context().grantPermissions(['clipboard-read', 'clipboard-write']);
    await page.getByRole('button', { name: 'Copy' }).click();
    await page.getByRole('button', { name: 'Copied' }).waitFor();
    const code = await page.evaluate<string>('navigator.clipboard.readText()');
    expect(code).toContain(`src="${gateway.url}/client/tallycast.js"`);
    expect(code).toContain('<live-like post="copied"></live-like>');
  });
});

describe('the feed', () => {
  afterEach(() => closeWindows(browser));

  interface Sight {
    readonly near: number;
    readonly visible: number;
    readonly answered: number;
    readonly atEnd: boolean;
  }

  function sight(page: Page): Promise<Sight> {
    return page.evaluate<Sight>(`(() => {
      const within = (margin) => [...document.querySelectorAll('live-like')].filter((widget) => {
        const { top, bottom } = widget.getBoundingClientRect();
        return bottom >= -margin && top <= innerHeight + margin;
      });
      const visible = within(0);
      return {
        near: within(${MARGIN_PX}).length,
        visible: visible.length,
        answered: visible.filter((widget) => widget.dataset.count !== undefined).length,
        atEnd: scrollY + innerHeight >= document.documentElement.scrollHeight - 1,
      };
    })()`);
  }

  test('scrolled to its end, watches the posts in sight and those close to them at every stop', async () => {
    const { page } = await open('/feed/');
    const isRight = async (): Promise<boolean> => {
      const { near, visible, answered } = await sight(page);
      return visible > 0 && answered === visible && (await value(page, 'watched')) <= near;
    };
    let stops = 0;
    do {
      await page.evaluate(`scrollBy(0, ${SCROLL_PX})`);
      await until(isRight, 'those in sight are live, and no more are watched than those near');
      stops++;
    } while (!(await sight(page)).atEnd);
    expect(stops).toBeGreaterThan(5);
    const watched = await value(page, 'watched');
    await until(async () => (await subscriptions(gateway.url)) === watched, 'the gateway watches those for it');
  });
});

describe('the wall', () => {
  afterEach(() => closeWindows(browser));

  const POSTS = Array.from({ length: 12 }, (_, i) => `story-${i + 1}`);

  test('a burst moves every figure of every window, and ends by itself with exact totals', async () => {
    const { page } = await open('/wall/');
    const { page: other } = await open('/wall/');
    const before = await counted(gateway.url, POSTS);
    await page.getByTestId('burst-20').click();
    await has(page, 'burst', '[data-readers="20"]');
    for (const figure of ['acknowledged', 'counted', 'frames', 'acknowledged-ms', 'screen-ms']) {
      await until(async () => (await value(page, figure)) > 0, `${figure} is measured`);
    }
    for (const figure of ['counted', 'frames']) {
      await until(async () => (await value(other, figure)) > 0, `${figure} is measured beside it`);
    }
    // Each window watches each post.
    await until(async () => (await value(other, 'viewers')) > 2 * POSTS.length, 'readers are viewers');
    await has(page, 'burst', '[data-readers="0"]');
    await all([page, other], (one) => has(one, 'viewers', `[data-value="${2 * POSTS.length}"]`));
    const after = await counted(gateway.url, POSTS);
    expect(after.views).toBeGreaterThan(before.views);
    await all([page, other], (one) => has(one, 'total-likes', `[data-value="${after.likes}"]`));
    await all([page, other], (one) => has(one, 'total-views', `[data-value="${after.views}"]`));
  });
});

describe('the cable', () => {
  afterEach(() => closeWindows(browser));

  test('pulled, both sides go on by themselves; plugged in, both agree with the gateway', async () => {
    const { page } = await open('/cable/?post=pulled');
    for (const who of ['ann', 'bob']) await has(page, `state-${who}`, '[data-state=synced]');
    await page.getByTestId('pull-ann').click();
    await has(page, 'pull-ann', '[aria-pressed=true]');
    await has(page, 'state-ann', '[data-state=syncing]');
    for (const action of ['like-ann', 'view-ann', 'view-ann', 'like-bob', 'view-bob']) {
      await page.getByTestId(action).click();
    }
    await has(page, 'confirmed-views', '[data-count="1"]');
    await has(page, 'confirmed-likes', '[data-count="1"]');
    await has(page, 'waiting-ann', '[data-value="3"]');
    await has(page, 'views-ann', '[data-count="2"]');
    await has(page, 'views-bob', '[data-count="1"]');
    expect(await counted(gateway.url, ['pulled'])).toEqual({ likes: 1, views: 1 });

    await page.getByTestId('pull-ann').click();
    for (const likes of ['confirmed-likes', 'likes-ann', 'likes-bob']) await has(page, likes, '[data-count="2"]');
    for (const views of ['confirmed-views', 'views-ann', 'views-bob']) await has(page, views, '[data-count="3"]');
    await has(page, 'waiting-ann', '[data-value="0"]');
    await page.getByText('All three agree.').waitFor();
    expect(await counted(gateway.url, ['pulled'])).toEqual({ likes: 2, views: 3 });
  });

  test('is pulled and plugged in by the keyboard, too', async () => {
    const { page } = await open('/cable/?post=keyboard');
    await page.getByTestId('pull-bob').focus();
    await page.keyboard.press('Enter');
    await page.getByText('Bob is unplugged').waitFor();
    await page.keyboard.press('Space');
    await page.getByText('All three agree.').waitFor();
  });
});

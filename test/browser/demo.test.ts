import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import type { Browser, BrowserContextOptions, Page } from 'playwright-core';
import { launchChromium } from '../support/chromium.js';
import { type GatewayProcess, startGateway, stopAll } from '../support/gateway-process.js';
import { until } from '../support/until.js';
import {
  readTotals,
  readContentWidth,
  DESKTOP,
  dismissReaders,
  findViolations,
  NARROW_PX,
  PHONE,
  untilHas,
  likeOverHttp,
  readMoved,
  openPage,
  countWatchedPosts,
  value,
  type Window,
} from './demo-page.js';
import { forAll, closeWindows } from './windows.js';

/** Distance around the window within which posts may be watched: its own height. */
const MARGIN_PX = DESKTOP.height;
const SCROLL_PX = 10_000;

let browser: Browser;
let gateway: GatewayProcess;

beforeAll(async () => {
  [gateway, browser] = await Promise.all([startGateway(), launchChromium()]);
});

afterAll(async () => {
  await browser.close();
  await stopAll();
});

function open(path: string, options?: BrowserContextOptions): Promise<Window> {
  return openPage(browser, gateway.url + path, options);
}

/** Changes numbers on each page; resolves when they have changed. */
const CHANGES: Readonly<Record<string, (page: Page) => Promise<void>>> = {
  '/': async (page) => {
    await page.getByTestId('like').click();
    await page.locator('[data-testid=latency][data-shown-ms]').waitFor();
    await page.locator('[data-testid=acknowledged][data-value]').waitFor();
  },
  '/article/': async (page) => {
    await page.locator('live-like').click();
    await untilHas(page, 'state', '[data-state=synced]');
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
    await untilHas(page, 'views-bob', '[data-count="1"]');
    await page.getByTestId('pull-ann').click();
    await page.getByTestId('view-ann').click();
    await untilHas(page, 'waiting-ann', '[data-value="1"]');
    await page.getByTestId('pull-ann').click();
    await untilHas(page, 'views-bob', '[data-count="2"]');
  },
  '/raffle/': async (page) => {
    await page.getByTestId('view').click();
    await untilHas(page, 'views', '[data-count="1"]');
  },
  '/regions/': async (page) => {
    await page.getByText('npm run drill -- --page').waitFor();
    expect(await page.getByTestId('pane-eu').isVisible()).toBe(false);
  },
};

describe.each(Object.keys(CHANGES))('%s', (path) => {
  let window: Window;

  beforeAll(async () => {
    window = await open(path, { reducedMotion: 'reduce' });
  });

  afterAll(() => closeWindows(browser));

  test('the page moves nothing under reduced motion while numbers change', async () => {
    await CHANGES[path]!(window.page);
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

  test('axe finds no violation with forced colours', async () => {
    await window.page.emulateMedia({ forcedColors: 'active' });
    // axe compares the page's own text colour, which is not drawn, with the forced background.
    expect(await findViolations(window.page, ['color-contrast'])).toEqual([]);
    await window.page.emulateMedia({ forcedColors: 'none' });
  });

  test.each([NARROW_PX, PHONE.width])('nothing is wider than a phone of %i px', async (width) => {
    expect(await readContentWidth(window.page, width)).toBe(width);
  });

  test('the console has no error and no violation of the content security policy', () => {
    expect(window.complaints).toEqual([]);
  });
});

describe('the article', () => {
  afterEach(() => closeWindows(browser));

  test('numbers roll if motion is allowed', async () => {
    const { page } = await open('/article/?post=rolling');
    await page.locator('live-like[data-count="0"]').waitFor();
    await page.locator('live-like').scrollIntoViewIfNeeded();
    // An animation shorter than a frame of a slow machine is missed, so try again.
    await until(async () => {
      await likeOverHttp(gateway.url, 'rolling');
      return (await readMoved(page)).length > 0;
    }, 'something moved');
  });

  test('the copy button copies the code of the shown post', async () => {
    const { page } = await open('/article/?post=copied');
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

  function readSight(page: Page): Promise<Sight> {
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

  test('a feed that is scrolled to its end watches only posts in view and close to it at every stop', async () => {
    const { page } = await open('/feed/');
    await dismissReaders(page);
    const isRight = async (): Promise<boolean> => {
      const { near, visible, answered } = await readSight(page);
      return visible > 0 && answered === visible && (await value(page, 'watched')) <= near;
    };
    let stops = 0;
    do {
      await page.evaluate(`scrollBy(0, ${SCROLL_PX})`);
      await until(isRight, 'all posts in view are live, and only posts close to it are watched');
      stops++;
    } while (!(await readSight(page)).atEnd);
    expect(stops).toBeGreaterThan(5);
    // A post may still enter the margin: read both figures again.
    await until(
      async () => (await countWatchedPosts(gateway.url)) === (await value(page, 'watched')),
      'the gateway counts as many watched posts',
    );
  });
});

describe('the wall', () => {
  afterEach(() => closeWindows(browser));

  const POSTS = Array.from({ length: 12 }, (_, i) => `story-${i + 1}`);

  test('a burst changes every figure of every window, and ends by itself with exact totals', async () => {
    const { page } = await open('/wall/');
    const { page: other } = await open('/wall/');
    await forAll([page, other], dismissReaders);
    const before = await readTotals(gateway.url, POSTS);
    await page.getByTestId('burst-20').click();
    await untilHas(page, 'burst', '[data-readers="20"]');
    for (const figure of ['acknowledged', 'counted', 'frames', 'acknowledged-ms', 'screen-ms']) {
      await until(async () => (await value(page, figure)) > 0, `${figure} is measured`);
    }
    for (const figure of ['counted', 'frames']) {
      await until(async () => (await value(other, figure)) > 0, `${figure} is measured in the other window`);
    }
    let mostViewers = 0;
    await until(async () => {
      mostViewers = Math.max(mostViewers, await value(other, 'viewers'));
      return (await value(page, 'burst', 'readers')) === 0;
    }, 'the readers have left');
    // Both windows are readers, too.
    expect(mostViewers).toBeGreaterThan(2);
    expect(mostViewers).toBeLessThanOrEqual(22);
    await forAll([page, other], (one) => untilHas(one, 'viewers', '[data-value="2"]'));
    const after = await readTotals(gateway.url, POSTS);
    expect(after.views).toBeGreaterThan(before.views);
    await forAll([page, other], (one) => untilHas(one, 'total-likes', `[data-value="${after.likes}"]`));
    await forAll([page, other], (one) => untilHas(one, 'total-views', `[data-value="${after.views}"]`));
  });
});

describe('the cable', () => {
  afterEach(() => closeWindows(browser));

  test('both sides continue while a cable is pulled, and agree with the gateway when it is plugged in', async () => {
    const { page } = await open('/cable/?post=pulled');
    for (const who of ['ann', 'bob']) await untilHas(page, `state-${who}`, '[data-state=synced]');
    await page.getByTestId('pull-ann').click();
    await page.getByRole('button', { name: 'Plug in Ann' }).waitFor();
    await untilHas(page, 'state-ann', '[data-state=syncing]');
    for (const action of ['like-ann', 'view-ann', 'view-ann', 'like-bob', 'view-bob']) {
      await page.getByTestId(action).click();
    }
    await untilHas(page, 'gateway-views', '[data-count="1"]');
    await untilHas(page, 'gateway-likes', '[data-count="1"]');
    await untilHas(page, 'waiting-ann', '[data-value="3"]');
    await untilHas(page, 'views-ann', '[data-count="2"]');
    await untilHas(page, 'views-bob', '[data-count="1"]');
    expect(await readTotals(gateway.url, ['pulled'])).toEqual({ likes: 1, views: 1 });

    await page.getByTestId('pull-ann').click();
    for (const likes of ['gateway-likes', 'likes-ann', 'likes-bob']) await untilHas(page, likes, '[data-count="2"]');
    for (const views of ['gateway-views', 'views-ann', 'views-bob']) await untilHas(page, views, '[data-count="3"]');
    await untilHas(page, 'waiting-ann', '[data-value="0"]');
    await page.getByText('All three agree.').waitFor();
    expect(await readTotals(gateway.url, ['pulled'])).toEqual({ likes: 2, views: 3 });
  });

  test.each([NARROW_PX, PHONE.width, DESKTOP.width])(
    'cables and operations move nothing on a page of %i px',
    async (width) => {
      const { page } = await open(`/cable/?post=still-${width}`);
      await page.setViewportSize({ width, height: DESKTOP.height });
      await page.getByText('All three agree').waitFor();
      const measureTops = (): Promise<unknown> =>
        page.evaluate(
          `[...document.querySelectorAll('.gateway, .pane, [data-testid^=like-], .waiting')].map((element) => element.getBoundingClientRect().top + scrollY)`,
        );
      const before = await measureTops();
      await page.getByTestId('pull-ann').click();
      for (const action of ['view-ann', 'view-ann', 'view-bob']) await page.getByTestId(action).click();
      await page.getByText('Bob and the gateway have not received them.').waitFor();
      expect(await measureTops()).toEqual(before);
      await untilHas(page, 'gateway-views', '[data-count="1"]');
      await untilHas(page, 'waiting-bob', '[data-value="0"]');
      await page.getByTestId('pull-bob').click();
      for (const action of ['view-bob', 'view-bob']) await page.getByTestId(action).click();
      await page.getByText('2 operations of Bob’s wait here.').waitFor();
      expect(await measureTops()).toEqual(before);
    },
  );

  test('a cable is pulled and plugged in by the keyboard', async () => {
    const { page } = await open('/cable/?post=keyboard');
    await page.getByTestId('pull-bob').focus();
    await page.keyboard.press('Enter');
    await page.getByText('Bob is unplugged').waitFor();
    await page.keyboard.press('Space');
    await page.getByText('All three agree.').waitFor();
  });
});

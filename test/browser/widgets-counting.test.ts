import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import type { Browser, Page } from 'playwright-core';
import { launchChromium, launchTabs, type Tabs } from '../support/chromium.js';
import { readCount } from '../support/events.js';
import { type GatewayProcess, startGateway, stopAll } from '../support/gateway-process.js';
import { until } from '../support/until.js';
import { LOAD, openWidgets, SCRIPT, untilCount } from './widgets-page.js';

const VIEWPORT = { width: 800, height: 800 };
/** A view takes a second; long enough that a view that should not count would have. */
const LONG_MS = 5_000;
/** A function in the page that makes a tag. */
const MAKE = `globalThis.make = (post) =>
  Object.assign(document.createElement('live-count'), { post, metric: 'views', count: true });`;

let browser: Browser;
let gateway: GatewayProcess;

beforeAll(async () => {
  [gateway, browser] = await Promise.all([startGateway(), launchChromium()]);
});

afterEach(async () => {
  for (const context of browser.contexts()) await context.close();
});

afterAll(async () => {
  await browser.close();
  await stopAll();
});

function readViews(post: string): Promise<number> {
  return readCount(gateway.url, post, 'views');
}

/** Opens a page whose first tag has this height and 2,000 px above it, and stops the clock of the page. */
async function openTall(post: string, heightPx: number): Promise<Page> {
  const body = `<p></p><live-count post="${post}" metric="views" count></live-count><p></p>`;
  const { page } = await openWidgets(browser, gateway.url, body, { viewport: VIEWPORT });
  await page.clock.install();
  await page.evaluate(`globalThis.IntersectionObserver = class extends IntersectionObserver {
      constructor(report, options) {
        super((entries, observer) => {
          report(entries, observer);
          if (observer.thresholds.length > 1) globalThis.reportedPx = entries.at(-1).intersectionRect.height;
        }, options);
      }
    };
    for (const p of document.querySelectorAll('p')) p.style.blockSize = '2000px';
    document.body.style.margin = 0;
    Object.assign(widgets()[0].style, { display: 'block', blockSize: '${heightPx}px' });
    document.querySelector('p').style.margin = 0;
    ${LOAD}`);
  await page.clock.pauseAt(Date.now() + LONG_MS);
  return page;
}

/** Scrolls so that this many pixels of the tag of `openTall` are above the end of the viewport, and waits until the tag has noticed. */
async function reveal(page: Page, px: number): Promise<void> {
  await page.evaluate(`scrollTo(0, 2000 - innerHeight + ${px})`);
  await until(
    () => page.evaluate<boolean>(`globalThis.reportedPx === ${px}`),
    `the tag knows that ${px} px are visible`,
  );
}

/** Lets the page's time run until the gateway has counted this many views. */
async function untilViews(page: Page, post: string, count: number): Promise<void> {
  await until(async () => {
    await page.clock.runFor(100);
    return (await readViews(post)) === count;
  }, `${post} has ${count} views`);
}

/** Lets the page count the view of another post, then checks that this one has none. */
async function expectNoView(page: Page, post: string): Promise<void> {
  await page.evaluate(`${MAKE} document.body.append(Object.assign(make('${post}-not'), { hidden: true }))`);
  await untilViews(page, `${post}-not`, 1);
  expect(await readViews(post)).toBe(0);
}

/** @returns the additions that the page sends to the gateway from now on */
function recordAdditions(page: Page): string[] {
  const sent: string[] = [];
  page.on('websocket', (socket) =>
    socket.on('framesent', ({ payload }) => {
      if (/^42\d+\["add"/.test(payload.toString())) sent.push(payload.toString());
    }),
  );
  return sent;
}

describe('what is seen', () => {
  test('a view counts when half of the tag was visible for a second without a break', async () => {
    const page = await openTall('half', 200);
    await reveal(page, 80);
    await page.clock.fastForward(LONG_MS);
    for (let i = 0; i < 2; i++) {
      await reveal(page, 120);
      await page.clock.fastForward(900);
      await reveal(page, 80);
      await page.clock.fastForward(900);
    }
    await expectNoView(page, 'half');
    await reveal(page, 120);
    await untilViews(page, 'half', 1);
  });

  test('a view of a tag that is larger than the viewport counts when it fills half of the viewport', async () => {
    const page = await openTall('tall', 8_000);
    await reveal(page, VIEWPORT.height / 2 - 100);
    await page.clock.fastForward(LONG_MS);
    await expectNoView(page, 'tall');
    await reveal(page, VIEWPORT.height / 2 + 100);
    await untilViews(page, 'tall', 1);
  });

  test('a hidden tag counts when the page was visible for a second, wherever the tag is', async () => {
    const body = `${SCRIPT}<live-count post="unshown" metric="views" count hidden></live-count>`;
    const { page } = await openWidgets(browser, gateway.url, body);
    await until(async () => (await readViews('unshown')) === 1, 'the view is counted');
    expect(await page.evaluate('widgets()[0].checkVisibility()')).toBe(false);
  });
});

describe('once a page view', () => {
  test('tags that are repeated, moved, mounted again and of other clients count once', async () => {
    const tag = '<live-count post="once" metric="views" count></live-count>';
    const { page } = await openWidgets(browser, gateway.url, `${tag}${tag}<p></p>`);
    const sent = recordAdditions(page);
    await page.evaluate(`import('/client/tallycast.js').then(({ createLiveCounts }) => {
      widgets()[1].live = createLiveCounts(location.origin, { actor: 'another' });
    })`);
    await untilCount(page, 'live-count', 1);
    await page.evaluate(`${MAKE} document.querySelector('p').append(widgets()[0], make('once'), make('last'))`);
    // The tag of another post is observed last.
    await untilCount(page, '[post=last]', 1);
    expect(await readViews('once')).toBe(1);
    expect(sent.filter((message) => message.includes('once'))).toHaveLength(1);
  });

  test('a navigation within the document to another path begins a page view', async () => {
    const tag = '<live-count post="routed" metric="views" count></live-count>';
    const { page } = await openWidgets(browser, gateway.url, SCRIPT + tag);
    await untilCount(page, 'live-count', 1);
    for (const [path, views] of [
      ['#part', 1],
      ['/another', 2],
      ['/widgets', 3],
    ] as const) {
      await page.evaluate(`history.pushState(null, '', '${path}');
        ${MAKE} document.body.replaceChildren(make('routed'), make('after${views}'))`);
      await untilCount(page, `[post=after${views}]`, 1);
      await until(async () => (await readViews('routed')) === views, `${views} views`);
    }
  });

  test('a view that the gateway refuses may count later', async () => {
    const { page } = await openWidgets(
      browser,
      gateway.url,
      '<live-count post="refused" metric="likes" count></live-count>',
    );
    await page.evaluate(`globalThis.failures = [];
      addEventListener('live-error', ({ detail }) => failures.push(detail));
      ${LOAD}`);
    for (const count of [1, 2]) {
      await until(async () => (await page.evaluate<number>('failures.length')) === count, `${count} refusals`);
      await page.evaluate('document.body.append(widgets()[0])');
    }
    expect(await page.evaluate('failures')).toEqual(
      Array(2).fill(expect.objectContaining({ post: 'refused', code: 'BAD_REQUEST' })),
    );
  });
});

describe('pages that nobody sees', () => {
  let tabs: Tabs;

  beforeAll(async () => {
    tabs = await launchTabs();
  });

  afterAll(() => tabs.close());

  test('a background tab counts nothing until it is shown', async () => {
    const page = await tabs.context.newPage();
    await page.clock.install();
    await page.goto(`${gateway.url}/healthz`);
    const other = await tabs.context.newPage();
    await other.bringToFront();
    expect(await page.evaluate('document.visibilityState')).toBe('hidden');
    await page.evaluate(`import('/client/tallycast.js').then(() => {
      document.body.innerHTML = ['', 'hidden'].map((hidden) =>
        '<live-count post="background' + hidden + '" metric="views" count ' + hidden + '></live-count>').join('');
    })`);
    await page.clock.fastForward(LONG_MS);
    expect([await readViews('background'), await readViews('backgroundhidden')]).toEqual([0, 0]);
    await page.bringToFront();
    await until(async () => (await readViews('background')) === 1, 'the view is counted');
    await until(async () => (await readViews('backgroundhidden')) === 1, 'the view of the page is counted');
  });
});

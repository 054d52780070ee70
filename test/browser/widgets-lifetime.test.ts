import { afterAll, afterEach, beforeAll, expect, test } from '@jest/globals';
import type { Browser, CDPSession, Page } from 'playwright-core';
import { launchChromium } from '../support/chromium.js';
import { type GatewayProcess, startGateway, stopAll } from '../support/gateway-process.js';
import { until } from '../support/until.js';
import { LOAD, openWidgets, recordWatched, SCRIPT, untilCount } from './widgets-page.js';

const POSTS = 300;
const VIEWPORT = { width: 800, height: 800 };
const ROW_PX = 40;
/** The margin of client/src/widgets/visibility.ts. */
const MARGIN_PX = 400;
const SCALE = Number(process.env['TEST_SCALE'] ?? 1);
const MOUNTS = 2_000 * SCALE;
const MOUNTED_AT_ONCE = 250;
/** Less than 2,000 elements would take, and about the variation of compiled code and caches. */
const HEAP_SLACK_BYTES = 1_000_000;

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

function feed(prefix: string): string {
  const rows = Array.from(
    { length: POSTS },
    (_, i) => `<p class="row"><live-like post="${prefix}${i}"></live-like></p>`,
  );
  return rows.join('');
}

test('only the posts of a feed near the viewport are watched, and none once their widgets are removed', async () => {
  const { page, complaints } = await openWidgets(browser, gateway.url, feed('feed'), { viewport: VIEWPORT });
  const watched = recordWatched(page);
  await page.evaluate(LOAD);
  await untilCount(page, '[post=feed0]', 0);
  const most = (VIEWPORT.height + 2 * MARGIN_PX) / ROW_PX;
  expect(watched.size).toBeGreaterThanOrEqual(VIEWPORT.height / (2 * ROW_PX));
  expect(watched.size).toBeLessThanOrEqual(most);
  await page.evaluate('scrollTo(0, document.body.scrollHeight)');
  await untilCount(page, `[post=feed${POSTS - 1}]`, 0);
  await until(() => !watched.has('feed0'), 'the first post is not watched any more');
  expect([...watched.keys()]).toContain(`feed${POSTS - 1}`);
  expect(watched.size).toBeLessThanOrEqual(most);
  await page.evaluate('document.body.replaceChildren()');
  await until(() => watched.size === 0, 'nothing is watched');
  expect(await complaints()).toEqual([]);
});

test('a widget that is moved within the page keeps showing its number', async () => {
  const body = `${SCRIPT}<live-viewers post="moved"></live-viewers><p></p>`;
  const { page } = await openWidgets(browser, gateway.url, body);
  await untilCount(page, 'live-viewers', 1);
  const changes = await page.evaluate<string[]>(`(async () => {
    const [widget] = widgets();
    const number = widget.shadowRoot.querySelector('[part=number]');
    const changes = [];
    new MutationObserver((records) => changes.push(number.innerText)).observe(widget.shadowRoot,
      { subtree: true, attributes: true, characterData: true, attributeFilter: ['hidden'] });
    document.querySelector('p').append(widget);
    changes.push(number.innerText);
    await frames(5);
    return changes.concat(number.innerText);
  })()`);
  expect(new Set(changes)).toEqual(new Set(['1']));
});

interface PageSize {
  readonly nodes: number;
  readonly listeners: number;
  readonly heapBytes: number;
}

async function measurePage(cdp: CDPSession): Promise<PageSize> {
  await cdp.send('HeapProfiler.collectGarbage');
  const { metrics } = await cdp.send('Performance.getMetrics');
  const at = (name: string): number => metrics.find((metric) => metric.name === name)?.value ?? NaN;
  return { nodes: at('Nodes'), listeners: at('JSEventListeners'), heapBytes: at('JSHeapUsedSize') };
}

async function mount(page: Page, count: number): Promise<void> {
  await page.evaluate(`(async () => {
    const names = ['live-like', 'live-count', 'live-viewers'];
    for (let done = 0; done < ${count}; done += ${MOUNTED_AT_ONCE}) {
      for (let i = 0; i < ${MOUNTED_AT_ONCE}; i++) {
        const widget = document.createElement(names[i % 3]);
        widget.setAttribute('post', 'mounted' + (i % 50));
        document.body.append(widget);
      }
      await frames(3);
      document.body.replaceChildren();
    }
    await frames(3);
  })()`);
}

test(`${MOUNTS} widgets that were added and removed leave no nodes, listeners, memory or subscriptions`, async () => {
  const { page } = await openWidgets(browser, gateway.url, '<live-like post="mounted0"></live-like>');
  const watched = recordWatched(page);
  await page.evaluate(LOAD);
  await untilCount(page, 'live-like', 0);
  const cdp = await page.context().newCDPSession(page);
  await cdp.send('Performance.enable');
  await mount(page, 4 * MOUNTED_AT_ONCE);
  await until(() => watched.size === 0, 'nothing is watched');
  const before = await measurePage(cdp);
  await mount(page, MOUNTS);
  await until(() => watched.size === 0, 'nothing is watched');
  let after = await measurePage(cdp);
  // Pending frames and timers still hold some nodes.
  await until(async () => (after = await measurePage(cdp)).nodes <= before.nodes, 'the nodes are collected').catch(
    () => undefined,
  );
  expect(after.nodes).toBeLessThanOrEqual(before.nodes);
  expect(after.listeners).toBeLessThanOrEqual(before.listeners);
  expect(after.heapBytes - before.heapBytes).toBeLessThan(HEAP_SLACK_BYTES);
});

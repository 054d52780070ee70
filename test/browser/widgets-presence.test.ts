import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import type { Browser } from 'playwright-core';
import { launchChromium } from '../support/chromium.js';
import { readCount } from '../support/events.js';
import { type GatewayProcess, startGateway, stopAll } from '../support/gateway-process.js';
import { startProxy } from '../support/tcp-proxy.js';
import { until } from '../support/until.js';
import { openWidgets, LOAD, recordWatched, SCRIPT, untilCount } from './widgets-page.js';

const VIEWPORT = { width: 800, height: 800 };

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

function readPresent(post: string): Promise<number> {
  return readCount(gateway.url, post, 'live');
}

async function untilPresent(post: string, count: number): Promise<void> {
  await until(async () => (await readPresent(post)) === count, `${count} present at ${post}`);
}

describe('presence', () => {
  test('a reader who scrolls 5,000 px away from live-viewers stays present until the tag is removed', async () => {
    const body = `<live-viewers post="read"></live-viewers><live-like post="top"></live-like><p></p>
      <live-like post="bottom"></live-like>`;
    const { page } = await openWidgets(browser, gateway.url, body, { viewport: VIEWPORT });
    const watched = recordWatched(page);
    await page.evaluate(`document.querySelector('p').style.blockSize = '6000px'; ${LOAD}`);
    await untilPresent('read', 1);
    await page.evaluate('scrollTo(0, 5000)');
    await untilCount(page, '[post=bottom]', 0);
    await until(() => !watched.has('top'), 'the other tag is not watched any more');
    expect([watched.get('read'), await readPresent('read')]).toEqual([true, 1]);
    await page.evaluate("document.querySelector('live-viewers').remove()");
    await untilPresent('read', 0);
  });

  test('live-viewers makes its reader present before it comes into view', async () => {
    const { page } = await openWidgets(browser, gateway.url, `<p></p><live-viewers post="far"></live-viewers>`);
    await page.evaluate(`document.querySelector('p').style.blockSize = '6000px'; ${LOAD}`);
    await untilPresent('far', 1);
    expect(await page.evaluate('scrollY')).toBe(0);
  });

  test('the other tags make nobody present', async () => {
    const tags = ['live-like', 'live-count', 'live-choice'].map((name) => `<${name} post="liked"></${name}>`);
    const { page } = await openWidgets(browser, gateway.url, tags.join(''));
    const watched = recordWatched(page);
    await page.evaluate(LOAD);
    await untilCount(page, 'live-like', 0);
    expect(watched).toEqual(new Map([['liked', false]]));
    await page.locator('live-like').getByRole('button').click();
    await untilCount(page, 'live-count', 1);
    expect(await readPresent('liked')).toBe(0);
  });
});

describe('tags near the viewport', () => {
  const WATCHED_PX = [-1, 399];
  const UNWATCHED_PX = [401, 2000];

  /** Puts tags into the element, each with its post named after the distance of its upper edge from the element's lower edge. */
  const PUT = `globalThis.put = (into, bottom) => {
    for (const px of [${[...WATCHED_PX, ...UNWATCHED_PX].join()}]) {
      const tag = Object.assign(document.createElement('live-count'), { post: 'at' + px });
      Object.assign(tag.style, { position: 'absolute', top: bottom + px + 'px' });
      into.append(tag);
    }
  };`;

  async function untilNear(watched: ReadonlyMap<string, boolean>): Promise<void> {
    await until(() => WATCHED_PX.every((px) => watched.has(`at${px}`)), 'the tags near the viewport are watched');
    // The observer reports all tags at once, and the posts of a frame are watched by one message.
    expect([...watched.keys()].sort()).toEqual(WATCHED_PX.map((px) => `at${px}`).sort());
  }

  test('tags up to 400 px below the viewport are watched', async () => {
    const { page } = await openWidgets(browser, gateway.url, '<p></p>', { viewport: VIEWPORT });
    const watched = recordWatched(page);
    await page.evaluate(`${PUT} put(document.body, innerHeight); ${LOAD}`);
    await untilNear(watched);
  });

  test('tags up to 400 px below the visible part of a scroll container are watched', async () => {
    const { page } = await openWidgets(browser, gateway.url, '<p></p>', { viewport: VIEWPORT });
    const watched = recordWatched(page);
    await page.evaluate(`${PUT}
      const box = document.querySelector('p');
      Object.assign(box.style, { position: 'relative', blockSize: '200px', overflow: 'auto' });
      put(box, 200); ${LOAD}`);
    await untilNear(watched);
  });

  test('tags up to 400 px below the visible part of a frame of the same origin are watched', async () => {
    const { page } = await openWidgets(browser, gateway.url, '<iframe srcdoc="<p>"></iframe>', {
      viewport: VIEWPORT,
    });
    const watched = recordWatched(page);
    const frame = page.frames().at(-1)!;
    await frame.evaluate(`${PUT} put(document.body, innerHeight); ${LOAD}`);
    await untilNear(watched);
  });
});

describe('the state', () => {
  test('tags show that their numbers are stale while the gateway is away, and nothing while the page scrolls', async () => {
    const proxy = await startProxy(gateway);
    const url = `http://127.0.0.1:${proxy.port}`;
    const body = `${SCRIPT}<live-count post="stale"></live-count><live-like post="stale"></live-like><p></p>`;
    const { page } = await openWidgets(browser, url, body);
    await page.locator('live-count[data-state=synced]').waitFor();
    await page.locator('live-like[data-state=synced]').waitFor();
    await page.evaluate(`globalThis.states = [];
      new MutationObserver(() => states.push(widgets()[0].dataset.state)).observe(widgets()[0], { attributeFilter: ['data-state'] });
      const tag = Object.assign(document.createElement('live-count'), { post: 'another' });
      document.body.append(tag)`);
    await page.locator('[post=another][data-state=synced]').waitFor();
    expect(await page.evaluate('states')).toEqual([]);
    proxy.refuse();
    for (const name of ['live-count', 'live-like']) await page.locator(`${name}[data-state=syncing]`).first().waitFor();
    proxy.accept();
    for (const name of ['live-count', 'live-like']) await page.locator(`${name}[data-state=synced]`).first().waitFor();
    expect(await page.evaluate('states')).toEqual(['syncing', 'synced']);
    await proxy.close();
  });
});

import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import type { Browser, Page } from 'playwright-core';
import { launchChromium } from '../support/chromium.js';
import { closeClients, connect } from '../support/clients.js';
import { type GatewayProcess, startGateway, stopAll } from '../support/gateway-process.js';
import { until } from '../support/until.js';
import { findAccessibilityFaults, untilCount, openWidgets, SCRIPT, slowDownAnimations } from './widgets-page.js';

let browser: Browser;
let gateway: GatewayProcess;

beforeAll(async () => {
  [gateway, browser] = await Promise.all([startGateway({ MAX_OPS_PER_CONNECTION: '0' }), launchChromium()]);
});

afterEach(async () => {
  for (const context of browser.contexts()) await context.close();
  await closeClients();
});

afterAll(async () => {
  await browser.close();
  await stopAll();
});

function untilPressed(page: Page, isPressed: boolean): Promise<void> {
  return page.getByRole('button', { name: 'Like', exact: true, pressed: isPressed }).waitFor();
}

describe('the like button', () => {
  test('the like button gets the focus by Tab and toggles by Enter and Space', async () => {
    const { page } = await openWidgets(browser, gateway.url, `${SCRIPT}<live-like post="keys"></live-like>`);
    await untilCount(page, 'live-like', 0);
    await page.keyboard.press('Tab');
    expect(await page.evaluate('document.activeElement.localName')).toBe('live-like');
    await page.keyboard.press('Enter');
    await untilPressed(page, true);
    await untilCount(page, 'live-like', 1);
    await page.keyboard.press('Space');
    await untilPressed(page, false);
    await untilCount(page, 'live-like', 0);
  });

  test('the name of the like button is the label of the page, without the number', async () => {
    const body = `${SCRIPT}<live-like post="named" label="Gefällt mir"></live-like>`;
    const { page } = await openWidgets(browser, gateway.url, body);
    await untilCount(page, 'live-like', 0);
    expect(await page.locator('live-like').ariaSnapshot()).toBe('- text: "0"\n- button "Gefällt mir"\n- status');
    await page.evaluate("widgets()[0].setAttribute('label', 'Me gusta')");
    await page.getByRole('button', { name: 'Me gusta', exact: true }).waitFor();
  });

  test("a screen reader announces the result of the user's own like, and not likes of others", async () => {
    const { page } = await openWidgets(browser, gateway.url, `${SCRIPT}<live-like post="said"></live-like>`);
    await untilCount(page, 'live-like', 0);
    await page.evaluate(`globalThis.announced = [];
      new MutationObserver((records) => announced.push(...records.map(({ target }) => target.textContent)))
        .observe(widgets()[0].shadowRoot.querySelector('[role=status]'), { childList: true })`);
    for (let i = 0; i < 3; i++) await connect(gateway.url).emitWithAck('like', { post: 'said' });
    await untilCount(page, 'live-like', 3);
    // In one task, because each of them is announced if the next is more than a second later.
    await page.evaluate("for (let i = 0; i < 3; i++) widgets()[0].shadowRoot.querySelector('button').click()");
    await untilCount(page, 'live-like', 4);
    await page.getByRole('status').filter({ hasText: 'Like: 4' }).waitFor();
    await page.getByRole('status').filter({ hasNotText: 'Like' }).waitFor({ state: 'attached' });
    expect(await page.evaluate('announced')).toEqual(['Like: 4', '']);
  });
});

test.each(['light', 'dark'] as const)('axe finds no violation on a %s page of widgets', async (colorScheme) => {
  const body = `${SCRIPT}<main><h1>Widgets</h1><p><live-like post="axe"></live-like> <live-like post="axe2">7</live-like>
    <live-count post="axe" metric="views">5</live-count> views, <live-viewers post="axe"></live-viewers> watching</p></main>`;
  const { page, complaints } = await openWidgets(browser, gateway.url, body, { colorScheme });
  await untilCount(page, 'live-viewers', 1);
  await page.getByRole('button').first().click();
  await untilPressed(page, true);
  expect(await findAccessibilityFaults(page)).toEqual([]);
  expect(await complaints()).toEqual([]);
});

describe('motion', () => {
  /** @returns the largest number of digits that rolled in any frame until the post had its next ten views */
  async function countRollingDigits(page: Page, post: string, from: number): Promise<number> {
    await page.evaluate(`globalThis.most = 0; globalThis.watching = true;
      const look = () => { most = Math.max(most, animations().length); if (watching) requestAnimationFrame(look); };
      look()`);
    const socket = connect(gateway.url);
    for (let i = 0; i < 10; i++) {
      await socket.emitWithAck('view', { post });
      await untilCount(page, 'live-count', from + i + 1);
    }
    await page.evaluate('watching = false');
    return page.evaluate<number>('most');
  }

  test('digits roll unless the user prefers reduced motion, even if that changes during a roll', async () => {
    const body = `${SCRIPT}<live-count post="moved" metric="views"></live-count>`;
    const { page } = await openWidgets(browser, gateway.url, body, { reducedMotion: 'reduce' });
    await untilCount(page, 'live-count', 0);
    expect(await countRollingDigits(page, 'moved', 0)).toBe(0);
    await page.emulateMedia({ reducedMotion: 'no-preference' });
    expect(await countRollingDigits(page, 'moved', 10)).toBeGreaterThan(0);
    await until(async () => (await page.evaluate('animations().length')) === 0, 'no digit rolls');
    await slowDownAnimations(page);
    await page.evaluate(`void (globalThis.caught = new Promise((resolve) => {
      const look = () => {
        for (const animation of animations()) animation.pause();
        if (animations().length > 0) resolve(); else requestAnimationFrame(look);
      };
      look();
    }))`);
    await connect(gateway.url).emitWithAck('view', { post: 'moved' });
    await page.evaluate('caught');
    await page.emulateMedia({ reducedMotion: 'reduce' });
    await until(async () => (await page.evaluate('animations().length')) === 0, 'the roll has stopped');
    expect(await page.locator('live-count [part=number]').innerText()).toBe('21');
    expect(await countRollingDigits(page, 'moved', 21)).toBe(0);
  });

  test('digits out of view do not roll', async () => {
    const gap = '<p class="row"></p>'.repeat(15);
    const body = `${SCRIPT}${gap}<live-count post="unseen" metric="views"></live-count>`;
    const { page } = await openWidgets(browser, gateway.url, body, { viewport: { width: 800, height: 700 } });
    await untilCount(page, 'live-count', 0);
    expect(await countRollingDigits(page, 'unseen', 0)).toBe(0);
    await page.locator('live-count').scrollIntoViewIfNeeded();
    expect(await countRollingDigits(page, 'unseen', 10)).toBeGreaterThan(0);
  });
});

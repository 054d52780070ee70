import { afterAll, afterEach, beforeAll, expect, test } from '@jest/globals';
import type { Browser, Page } from 'playwright-core';
import { launchChromium } from '../support/chromium.js';
import { type GatewayProcess, startGateway, stopAll } from '../support/gateway-process.js';
import { until } from '../support/until.js';
import { findAccessibilityFaults, openWidgets, SCRIPT, untilCount } from './widgets-page.js';

const METRICS = 'likes:toggle,views:tally,yes:choice@vote,no:choice@vote,readers:unique';

let browser: Browser;
let gateway: GatewayProcess;

beforeAll(async () => {
  [gateway, browser] = await Promise.all([startGateway({ METRICS }), launchChromium()]);
});

afterEach(async () => {
  for (const context of browser.contexts()) await context.close();
});

afterAll(async () => {
  await browser.close();
  await stopAll();
});

async function readViews(post: string): Promise<number> {
  const response = await fetch(`${gateway.url}/v1/${post}/views`);
  return ((await response.json()) as { count: number }).count;
}

/** Resolves when this option is the only one that is on, with these numbers of votes. */
async function untilChosen(page: Page, chosen: 'yes' | 'no' | null, yes: number, no: number): Promise<void> {
  await page
    .locator(chosen === null ? 'live-choice:not([data-chosen])' : `live-choice[data-chosen=${chosen}]`)
    .waitFor();
  for (const [option, count] of Object.entries({ yes, no })) {
    await untilCount(page, `live-choice live-count[metric=${option}]`, count);
    await page.getByRole('button', { name: option, exact: true, pressed: option === chosen }).waitFor();
  }
}

test('a choice, its change and its taking back show in all tabs of a visitor who has chosen, and after a reload', async () => {
  const body = `${SCRIPT}<live-choice post="poll" group="vote"></live-choice>`;
  const { page, complaints } = await openWidgets(browser, gateway.url, body);
  await page.getByRole('button', { name: 'yes' }).click();
  await untilChosen(page, 'yes', 1, 0);
  const tab = await page.context().newPage();
  await tab.goto(page.url());
  const untilBoth = (...state: [chosen: 'yes' | 'no' | null, yes: number, no: number]): Promise<unknown> =>
    Promise.all([page, tab].map((each) => untilChosen(each, ...state)));
  await untilBoth('yes', 1, 0);
  await tab.getByRole('button', { name: 'no' }).press('Space');
  await untilBoth('no', 0, 1);
  await page.reload();
  await untilChosen(page, 'no', 0, 1);
  await page.evaluate("addEventListener('live-choice', ({ detail }) => (globalThis.turned = detail))");
  await page.getByRole('button', { name: 'no' }).press('Enter');
  await untilBoth(null, 0, 0);
  expect(await page.evaluate('turned')).toEqual({ post: 'poll', option: 'no', on: false });
  expect(await complaints()).toEqual([]);
});

test('the page names and orders the options, axe finds no violation, and a wrong option is taken back with an error', async () => {
  const body = `${SCRIPT}<main><h1>Vote</h1><live-choice post="named" group="vote" label="Your vote">
      <button data-option="no">Nein</button><button data-option="yes">Ja</button><button data-option="likes">Egal</button>
    </live-choice></main>`;
  const { page, complaints } = await openWidgets(browser, gateway.url, body);
  await untilCount(page, 'live-count[metric=yes]', 0);
  await page.getByRole('button', { name: 'Ja' }).click();
  await page.locator('live-choice[data-chosen=yes]').waitFor();
  const vote = page.getByRole('group', { name: 'Your vote' });
  expect(await vote.ariaSnapshot()).toBe(
    '- group "Your vote":\n' +
      '  - text: "0"\n  - button "Nein"\n  - text: "1"\n  - button "Ja" [pressed]\n  - text: "0"\n  - button "Egal"',
  );
  for (const colorScheme of ['light', 'dark'] as const) {
    await page.emulateMedia({ colorScheme });
    expect(await findAccessibilityFaults(page)).toEqual([]);
  }
  const failure = page.evaluate(
    "new Promise((resolve) => addEventListener('live-error', ({ target, detail }) => resolve([target.localName, detail])))",
  );
  await page.getByRole('button', { name: 'Egal' }).click();
  expect(await failure).toMatchObject([
    'live-choice',
    { code: 'BAD_REQUEST', message: expect.stringContaining('"likes"') },
  ]);
  await page.locator('live-choice[data-chosen=yes]').waitFor();
  await page.evaluate("document.querySelector('[data-option=no]').textContent = 'Non'");
  await page.getByRole('button', { name: 'Non', pressed: false }).waitFor();
  expect(await complaints()).toEqual([]);
});

test('a view of a unique metric counts once for a stored actor, whose reloads move no number', async () => {
  const body = ['readers', 'views'].map((metric) => `<live-count post="read" metric="${metric}" count></live-count>`);
  const { page } = await openWidgets(browser, gateway.url, SCRIPT + body.join(''));
  await untilCount(page, '[metric=readers]', 1);
  await untilCount(page, '[metric=views]', 1);
  // Only an actor who has acted is stored: until then each page load has another one.
  await page.evaluate("localStorage.setItem('tallycast.actor', '7')");
  await page.reload();
  await untilCount(page, '[metric=readers]', 2);
  await page.addInitScript(`globalThis.shown = [];
    addEventListener('live-count-change', ({ detail }) => detail.metric === 'readers' && shown.push(detail.count))`);
  await page.reload();
  // Operations are counted in order, so a third reader would be counted by now.
  await until(async () => (await readViews('read')) === 3, 'the third view is counted');
  expect(await page.evaluate('shown')).toEqual([2]);
});

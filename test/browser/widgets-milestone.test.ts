import { afterAll, afterEach, beforeAll, expect, test } from '@jest/globals';
import type { Browser, BrowserContextOptions, Page } from 'playwright-core';
import { launchChromium } from '../support/chromium.js';
import { type GatewayProcess, startGateway, stopAll } from '../support/gateway-process.js';
import { ADMIN_TOKEN, armNew } from '../support/milestones.js';
import { until } from '../support/until.js';
import { readContentWidth } from './demo-page.js';
import { findAccessibilityFaults, openWidgets, SCRIPT } from './widgets-page.js';

/** Counts the pieces of confetti that have flown, and collects the events of milestones. */
const IN_PAGE = `
  globalThis.pieces = 0;
  globalThis.milestones = [];
  const { animate } = Element.prototype;
  Element.prototype.animate = function (...call) {
    if (this.parentElement?.className === 'confetti') pieces++;
    return animate.apply(this, call);
  };
  addEventListener('tallycast-milestone', ({ detail }) => milestones.push(detail));
`;
/** Drops the events of milestones on their way to the client. */
const LOSE_EVENTS = `
  globalThis.lost = 0;
  globalThis.WebSocket = class extends WebSocket {
    set onmessage(receive) {
      super.onmessage = (message) => (message.data.startsWith('42["milestone"') ? lost++ : receive(message));
    }
  };
`;
const PIECES = 40;

let browser: Browser;
let gateway: GatewayProcess;

beforeAll(async () => {
  [gateway, browser] = await Promise.all([startGateway({ ADMIN_TOKEN, COUNT_BOTS: 'true' }), launchChromium()]);
});

afterEach(async () => {
  for (const context of browser.contexts()) await context.close();
});

afterAll(async () => {
  await browser.close();
  await stopAll();
});

function tag(post: string, at: number, more = ''): string {
  return `<live-milestone post="${post}" metric="views" at="${at}" ${more}>loading</live-milestone>`;
}

interface Opened {
  readonly page: Page;
  readonly complaints: () => Promise<string[]>;
  readonly warnings: readonly string[];
}

async function open(body: string, script = '', options: BrowserContextOptions = {}): Promise<Opened> {
  const { page, complaints } = await openWidgets(browser, gateway.url, '', options);
  const warnings: string[] = [];
  page.on('console', (message) => {
    if (message.type() === 'warning' && message.text().startsWith('tallycast:')) warnings.push(message.text());
  });
  await page.addInitScript(IN_PAGE + script);
  await page.route(`${gateway.url}/widgets`, async (route) => {
    const html = `<!doctype html><html lang="en"><title>Milestone</title><link rel="stylesheet" href="/widgets.css"><main><h1>Milestone</h1>${body}</main></html>`;
    await route.fulfill({
      contentType: 'text/html; charset=utf-8',
      headers: { 'Content-Security-Policy': "default-src 'self'" },
      body: html,
    });
  });
  await page.reload();
  return { page, complaints, warnings };
}

async function view(post: string, times = 1): Promise<void> {
  for (let n = 0; n < times; n++) {
    await fetch(`${gateway.url}/v1/${post}/views`, { method: 'PUT', body: '{"action":"increment"}' });
  }
}

function untilState(page: Page, state: 'counting' | 'reached' | 'won', more = ''): Promise<void> {
  return page.locator(`live-milestone[data-state=${state}]${more}`).waitFor();
}

function readText(page: Page): Promise<string> {
  return page.evaluate(
    "document.querySelector('live-milestone').shadowRoot.querySelector('[part=counting]').innerText.replace('\\xa0', ' ')",
  );
}

test('the tag counts down, celebrates once when somebody reaches the milestone, and not again after a reload', async () => {
  await armNew(gateway.url, 'down', 'views', 1_236);
  const { page, complaints, warnings } = await open(
    SCRIPT + tag('down', 1_236, 'other="views to go" one="view to go"'),
  );
  await untilState(page, 'counting', '[data-left="1236"]');
  await view('down', 2);
  await untilState(page, 'counting', '[data-left="1234"]');
  await until(async () => (await readText(page)) === '1,234 views to go', 'the text has the number that is left');
  await page.evaluate(
    "import('/client/tallycast.js').then(({ createLiveCounts }) => createLiveCounts('/').post('down').add('views', 1000))",
  );
  await view('down', 233);
  await untilState(page, 'counting', '[data-left="1"]');
  await until(async () => (await readText(page)) === '1 view to go', 'the text has the singular');
  expect(await page.evaluate('[pieces, milestones]')).toEqual([0, []]);
  await view('down');
  await untilState(page, 'reached', ':not([data-left])');
  await page.getByText('Somebody was number 1,236').waitFor();
  await until(async () => (await page.evaluate('pieces')) === PIECES, 'the confetti flies');
  await until(
    () => page.evaluate("!document.querySelector('live-milestone').shadowRoot.querySelector('.confetti')"),
    'the confetti is removed',
  );
  const [first] = await page.evaluate<object[]>('milestones');
  const at = expect.stringMatching(/^\d{4}-.*Z$/);
  expect(first).toEqual({ post: 'down', metric: 'views', n: 1_236, at, mine: false, final: false });
  await view('down');
  await page.reload();
  await untilState(page, 'reached');
  await until(async () => (await page.evaluate<object[]>('milestones')).length > 0, 'the page is informed');
  expect(await page.evaluate('[pieces, milestones]')).toEqual([0, [{ ...first, final: true }]]);
  expect([await complaints(), warnings]).toEqual([[], []]);
});

test('the winner of a view is informed, and again after a reload, though the visitor had no name before', async () => {
  await armNew(gateway.url, 'mine', 'views', 2);
  await view('mine');
  const body = `${SCRIPT}<live-count post="mine" metric="views" count></live-count>
    ${tag('mine', 2)}`;
  const { page, complaints } = await open(body);
  await untilState(page, 'won');
  await page.getByText('You were number 2!').waitFor();
  await until(async () => (await page.evaluate('pieces')) === PIECES, 'the confetti flies');
  const others = await open(`${SCRIPT}${tag('mine', 2)}`);
  await untilState(others.page, 'reached');
  await page.reload();
  await untilState(page, 'won');
  const [milestone] = await page.evaluate<object[]>('milestones');
  expect(milestone).toMatchObject({ n: 2, mine: true, final: true });
  expect(await page.evaluate('pieces')).toBe(0);
  expect(await complaints()).toEqual([]);
});

test('a milestone whose event is lost is found by the count, and celebrated once', async () => {
  await armNew(gateway.url, 'lost', 'views', 2);
  const { page } = await open(SCRIPT + tag('lost', 2), LOSE_EVENTS);
  await untilState(page, 'counting', '[data-left="2"]');
  await view('lost', 2);
  await untilState(page, 'reached');
  await until(async () => (await page.evaluate('pieces')) === PIECES, 'the confetti flies');
  expect(await page.evaluate('lost')).toBe(1);
  await view('lost', 2);
  expect(await page.evaluate('pieces')).toBe(PIECES);
});

test('under reduced motion nothing moves, and the milestone is announced politely', async () => {
  await armNew(gateway.url, 'still', 'views', 1);
  const { page } = await open(SCRIPT + tag('still', 1), '', { reducedMotion: 'reduce' });
  await untilState(page, 'counting');
  await view('still');
  await untilState(page, 'reached');
  await page.locator('live-milestone [role=status]', { hasText: 'Somebody was number 1' }).waitFor();
  expect(await page.evaluate('pieces')).toBe(0);
});

test('a milestone that is not armed gives one warning that says how to arm it', async () => {
  const { page, warnings } = await open(SCRIPT + tag('nothing', 10) + tag('nothing', 11));
  await untilState(page, 'counting', '[at="11"][data-left="11"]');
  await until(() => Promise.resolve(warnings.length > 0), 'the page warns');
  await view('nothing');
  await untilState(page, 'counting', '[at="11"][data-left="10"]');
  expect(warnings).toEqual([
    expect.stringMatching(/^tallycast: no milestone at 1[01] of "views".*PUT \/admin\/milestones \{"post":"nothing"/),
  ]);
});

test('the words of the page replace those of the tag, axe finds no violation, and nothing is wider than 320 px', async () => {
  await armNew(gateway.url, 'words', 'views', 1);
  const slots = '<span slot="reached">Erreicht</span><span slot="won">Gewonnen</span>';
  const body = `${SCRIPT}<live-milestone lang="de" post="words" metric="views" at="1" other="übrig">…${slots}</live-milestone>`;
  const { page } = await open(body);
  for (const state of ['counting', 'reached'] as const) {
    await untilState(page, state);
    if (state === 'reached') await page.getByText('Erreicht').waitFor();
    expect(await page.getByText('Gewonnen').isVisible()).toBe(false);
    for (const colorScheme of ['light', 'dark'] as const) {
      await page.emulateMedia({ colorScheme });
      expect(await findAccessibilityFaults(page)).toEqual([]);
    }
    await view('words');
  }
  expect(await readContentWidth(page, 320)).toBe(320);
});

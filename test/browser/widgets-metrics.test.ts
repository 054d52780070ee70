import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import type { Browser, Page } from 'playwright-core';
import { launchChromium } from '../support/chromium.js';
import { readCount } from '../support/events.js';
import { type GatewayProcess, startGateway, stopAll } from '../support/gateway-process.js';
import { until } from '../support/until.js';
import { findAccessibilityFaults, LOAD, openWidgets, SCRIPT, untilCount } from './widgets-page.js';

const METRICS = 'likes:toggle,views:tally,saves:toggle,yes:choice@vote,no:choice@vote';

let browser: Browser;
let gateway: GatewayProcess;

beforeAll(async () => {
  [gateway, browser] = await Promise.all([startGateway({ METRICS, MAX_OPS_PER_CONNECTION: '0' }), launchChromium()]);
});

afterEach(async () => {
  for (const context of browser.contexts()) await context.close();
});

afterAll(async () => {
  await browser.close();
  await stopAll();
});

async function addViews(post: string, by: number): Promise<void> {
  const headers = { 'Content-Type': 'application/json' };
  const { status } = await fetch(`${gateway.url}/v1/events`, {
    method: 'POST',
    headers,
    body: JSON.stringify([{ post, metric: 'views', by }]),
  });
  expect(status).toBe(202);
}

interface Complaints {
  readonly failures: () => Promise<{ tag: string; post: string; code: string; message: string }[]>;
  readonly warnings: string[];
}

/** Loads the widgets, and collects their errors and the warnings of the page. */
async function load(page: Page): Promise<Complaints> {
  const warnings: string[] = [];
  page.on('console', (message) => message.type() === 'warning' && warnings.push(message.text()));
  await page.evaluate(`globalThis.failures = [];
    addEventListener('live-error', ({ target, detail }) => failures.push({ tag: target.localName, ...detail }));
    ${LOAD}`);
  return { failures: () => page.evaluate('failures'), warnings };
}

describe('metrics that the gateway does not have', () => {
  test('a tag keeps its content, with one error and one warning that name the metrics of the gateway', async () => {
    const tags = ['a', 'b'].map((post) => `<live-count post="${post}" metric="vews">some</live-count>`);
    const body = `${tags.join('')}<live-count post="a" metric="vews" count></live-count>
      <live-count post="a" metric="views" count></live-count><live-like post="a" metric="hearts"></live-like>`;
    const { page } = await openWidgets(browser, gateway.url, body);
    const { failures, warnings } = await load(page);
    await until(async () => (await failures()).length === 4, 'each tag with an unknown metric has an error');
    await page.getByRole('button').click();
    // Operations of a post keep their order: the others, had they been sent, would have been rejected before.
    await until(async () => (await readCount(gateway.url, 'a', 'views')) === 1, 'the view is counted');
    await page.locator('live-like:not([data-on])').waitFor();
    const found = await failures();
    expect(found.map(({ tag, post, code }) => [tag, post, code].join()).sort()).toEqual([
      'live-count,a,BAD_REQUEST',
      'live-count,a,BAD_REQUEST',
      'live-count,b,BAD_REQUEST',
      'live-like,a,BAD_REQUEST',
    ]);
    const explain = (metric: string): string =>
      `the gateway has no metric "${metric}"; it has likes, live, no, saves, views, yes`;
    expect(found[0]!.message).toBe(explain('vews'));
    expect(warnings.sort()).toEqual(['hearts', 'vews'].map((metric) => `tallycast: ${explain(metric)}`));
    expect(await page.locator('live-count').first().innerText()).toBe('some');
    expect(await page.locator('[metric=vews][data-count]').count()).toBe(0);
  });

  test('a group and an option that the gateway does not have give an error each, and the content stays', async () => {
    const body = `<live-choice post="a" group="poll">yes or no</live-choice>
      <live-choice post="b" group="vote"><b data-option="yes">Yes</b><b data-option="maybe">Maybe</b>
        <b data-option="never">Never</b></live-choice>`;
    const { page } = await openWidgets(browser, gateway.url, body);
    const { failures, warnings } = await load(page);
    await until(async () => (await failures()).length === 2, 'each tag has an error');
    await page.getByRole('button', { name: 'Maybe' }).click();
    await page.getByRole('button', { name: 'Never' }).click();
    await page.getByRole('button', { name: 'Yes' }).click();
    await untilCount(page, 'live-count', 1);
    const messages = (await failures()).map(({ tag, post, code, message }) => [tag, post, code, message.split(';')[0]]);
    expect(messages.sort()).toEqual([
      ['live-choice', 'a', 'BAD_REQUEST', 'the gateway has no metric "choice@poll"'],
      ['live-choice', 'b', 'BAD_REQUEST', 'the gateway has no metric "maybe"'],
    ]);
    expect(warnings.map((text) => text.split(';')[0]).sort()).toEqual(
      messages.map(([, , , text]) => `tallycast: ${text}`),
    );
    expect(await page.locator('live-choice').first().innerText()).toBe('yes or no');
    expect(await page.locator('live-count[data-count]').count()).toBe(1);
  });
});

test('post="auto" is the canonical address, or that of the page if it names none that is usable', async () => {
  const { page, complaints } = await openWidgets(browser, gateway.url, SCRIPT);
  const read = (attributes: Record<string, string>): Promise<string> =>
    page.evaluate(`(() => {
      const [link, like] = ['link', 'live-like'].map((name) => document.createElement(name));
      for (const [name, value] of Object.entries(${JSON.stringify(attributes)})) link.setAttribute(name, value);
      like.setAttribute('post', 'auto');
      document.head.append(link);
      document.body.append(like);
      const { post } = like;
      link.remove();
      return post;
    })()`);
  const own = await read({});
  expect(own).toMatch(/^_[0-9a-f]{32}$/);
  expect(await read({ rel: 'canonical', href: 'https://example.org/a/' })).toBe('example.org:a');
  expect(await read({ rel: 'canonical' })).toBe(own);
  expect(await read({ rel: 'canonical', href: 'https://' })).toBe(own);
  expect(await complaints()).toEqual([]);
});

test('live-like turns any toggle on and off, and its events and its name tell the metric', async () => {
  const body = `<live-like post="42" metric="saves"></live-like><live-like post="42"></live-like>`;
  const { page, complaints } = await openWidgets(browser, gateway.url, SCRIPT + body);
  await page.evaluate(`globalThis.turned = [];
    addEventListener('live-like', ({ detail }) => turned.push(detail))`);
  const save = page.getByRole('button', { name: 'saves', exact: true });
  await save.click();
  await untilCount(page, '[metric=saves][data-on]', 1);
  await page.getByRole('button', { name: 'saves', pressed: true }).waitFor();
  await page.getByRole('button', { name: 'Like', pressed: false }).waitFor();
  await page.reload();
  await untilCount(page, '[metric=saves][data-on]', 1);
  await untilCount(page, 'live-like:not([metric], [data-on])', 0);
  await page.evaluate(`globalThis.turned = [];
    addEventListener('live-like', ({ detail }) => turned.push(detail))`);
  await save.press('Space');
  await untilCount(page, '[metric=saves]:not([data-on])', 0);
  expect(await page.evaluate('turned')).toEqual([{ post: '42', metric: 'saves', on: false }]);

  expect(await complaints()).toEqual([]);
});

describe('units', () => {
  test('the unit after a number is the plural form of the language for the exact number', async () => {
    const forms = { one: 'wyświetlenie', few: 'wyświetlenia', many: 'wyświetleń', other: 'wyświetlenia' };
    const attributes = Object.entries(forms).map(([form, text]) => `${form}="${text}"`);
    const body = `<p lang="pl"><live-count post="units" metric="views" ${attributes.join(' ')}></live-count></p>
      <p lang="en"><live-count post="units" metric="views" one="view" other="views"></live-count></p>
      <p lang="en"><live-count post="units" metric="views"></live-count></p>`;
    const { page } = await openWidgets(browser, gateway.url, SCRIPT + body);
    const readAt = async (count: number): Promise<string[]> => {
      for (let i = 1; i <= 3; i++) await untilCount(page, `:nth-match(live-count, ${i})`, count);
      const snapshots = await Promise.all((await page.locator('p').all()).map((each) => each.ariaSnapshot()));
      return snapshots.map((text) => text.replace('- paragraph: ', ''));
    };
    expect(await readAt(0)).toEqual(['0 wyświetleń', '0 views', '"0"']);
    await addViews('units', 1);
    expect(await readAt(1)).toEqual(['1 wyświetlenie', '1 view', '"1"']);
    await addViews('units', 1);
    expect(await readAt(2)).toEqual(['2 wyświetlenia', '2 views', '"2"']);
    await addViews('units', 999);
    await addViews('units', 799);
    // Screen readers read the exact number, and the form is that of the exact number.
    expect(await readAt(1_800)).toEqual(['1800 wyświetleń', '1,800 views', '1,800']);
    expect(await page.locator('p[lang=en] [part=unit]').first().innerText()).toBe('\xa0views');
    expect(await page.locator('p[lang=en] [part=number]').first().innerText()).toBe('1.8K');
  });

  test('live-viewers says what its number is, by its label or its unit, and axe finds no violation', async () => {
    const viewers = ['', 'label="lesen gerade"', 'one="reader" other="readers"', 'label=""'];
    const tags = viewers.map((attributes) => `<p><live-viewers post="read" ${attributes}></live-viewers></p>`);
    const { page } = await openWidgets(browser, gateway.url, `${SCRIPT}<main><h1>Viewers</h1>${tags.join('')}</main>`);
    for (let i = 1; i <= 4; i++) await untilCount(page, `:nth-match(live-viewers, ${i})`, 1);
    const read = await Promise.all((await page.locator('p').all()).map((each) => each.ariaSnapshot()));
    expect(read.map((text) => text.replace('- paragraph: ', ''))).toEqual([
      '1 here now',
      '1 lesen gerade',
      '1 reader',
      '"1"',
    ]);
    expect(await page.getByTitle('1 here now').innerText()).toBe('1');
    await page.evaluate("widgets()[0].setAttribute('label', 'online')");
    await page.getByTitle('1 online').waitFor();
    expect(await findAccessibilityFaults(page)).toEqual([]);
  });
});

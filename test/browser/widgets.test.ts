import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import type { Browser } from 'playwright-core';
import { launchChromium } from '../support/chromium.js';
import { closeClients, connect } from '../support/clients.js';
import { type GatewayProcess, startGateway, stopAll } from '../support/gateway-process.js';
import { until } from '../support/until.js';
import { untilCount, openWidgets, SCRIPT, slowDownAnimations } from './widgets-page.js';

const MILLION = 1_234_567;
/** An operation adds at most this number. */
const ADDED_MOST = 1_000;

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

async function addViews(post: string, count: number): Promise<void> {
  const socket = connect(gateway.url);
  const amounts = Array.from({ length: Math.ceil(count / ADDED_MOST) }, (_, i) =>
    Math.min(ADDED_MOST, count - i * ADDED_MOST),
  );
  const answers = amounts.map((by) => socket.emitWithAck('add', { post, metric: 'views', by }));
  expect((await Promise.all(answers)).filter(({ ok }) => !ok)).toEqual([]);
}

async function like(post: string): Promise<void> {
  expect(await connect(gateway.url).emitWithAck('like', { post })).toMatchObject({ ok: true, applied: true });
}

describe('numbers', () => {
  test('a number is formatted by the language of the page, with its digits, and in short', async () => {
    await addViews('million', MILLION);
    const languages = ['en', 'de', 'ar', 'ar-EG', 'hi'];
    const rows = languages.map(
      (lang) =>
        `<p lang="${lang}"><live-count post="million" metric="views" notation="standard"></live-count>
         <live-count post="million" metric="views"></live-count></p>`,
    );
    const { page, complaints } = await openWidgets(browser, gateway.url, SCRIPT + rows.join(''));
    for (let i = 0; i < 2 * languages.length; i++) await untilCount(page, `:nth-match(live-count, ${i + 1})`, MILLION);
    const texts = await page.evaluate<
      { shown: string; read: string; title: string }[]
    >(`widgets().map(({ shadowRoot }) => ({
      shown: shadowRoot.querySelector('[part=number]').textContent,
      read: shadowRoot.querySelector('.exact, [part=number]:not([aria-hidden])').textContent,
      title: shadowRoot.querySelector('[part=number]').title,
    }))`);
    const formats = await page.evaluate<string[][]>(`${JSON.stringify(languages)}.map((lang) => [
      new Intl.NumberFormat(lang).format(${MILLION}),
      new Intl.NumberFormat(lang, { notation: 'compact' }).format(${MILLION}),
    ])`);
    const expected = formats.flatMap(([exact, short]) => [
      { shown: exact, read: exact, title: '' },
      { shown: short, read: exact, title: exact },
    ]);
    expect(texts).toEqual(expected);
    expect(formats.map(([exact]) => exact)).toEqual([
      '1,234,567',
      '1.234.567',
      expect.stringMatching(/^(1,234,567|١٬٢٣٤٬٥٦٧)$/),
      '١٬٢٣٤٬٥٦٧',
      '12,34,567',
    ]);
    expect(formats[0]?.[1]).toBe('1.2M');
    expect(await complaints()).toEqual([]);
  });

  test('rolling digits have the same position as digits at rest, even in a right-to-left script', async () => {
    await addViews('rolling', 4_321);
    const body = `<p lang="ar-EG" dir="rtl"><live-count post="rolling" metric="views" notation="standard"></live-count></p>`;
    const { page } = await openWidgets(browser, gateway.url, SCRIPT + body);
    await untilCount(page, 'live-count', 4_321);
    const widthOf = `widgets()[0].shadowRoot.querySelector('bdi').getBoundingClientRect()`;
    const before = await page.evaluate<{ height: number; bottom: number }>(`(${widthOf}).toJSON()`);
    await slowDownAnimations(page);
    // Pauses the roll in its middle.
    await page.evaluate(`void (globalThis.held = new Promise((resolve) => {
      const look = () => {
        for (const animation of animations()) animation.pause();
        if (animations().length === 2) resolve(); else requestAnimationFrame(look);
      };
      look();
    }))`);
    await addViews('rolling', 11);
    await page.evaluate('held');
    const after = await page.evaluate<{ height: number; bottom: number }>(`(${widthOf}).toJSON()`);
    expect({ height: after.height, bottom: after.bottom }).toEqual({ height: before.height, bottom: before.bottom });
    const order = await page.evaluate<string>(`{
      const cells = [...widgets()[0].shadowRoot.querySelectorAll('.up')];
      cells.sort((a, b) => a.getBoundingClientRect().left - b.getBoundingClientRect().left);
      cells.map(({ textContent }) => textContent).join('');
    }`);
    expect(order).toBe('٣٢');
  });
});

describe('the content of the element', () => {
  test('the content shows until the first number arrives', async () => {
    await like('rendered');
    const { page } = await openWidgets(browser, gateway.url, '<p><live-count post="rendered">about 7</live-count></p>');
    expect(await page.locator('p').innerText()).toBe('about 7');
    await page.evaluate("import('/client/tallycast.js').then(() => undefined)");
    await untilCount(page, 'live-count', 1);
    expect(await page.locator('p').innerText()).toBe('');
    expect(await page.locator('live-count [part=number]').innerText()).toBe('1');
  });

  test('the content stays and the page gets live-error if the gateway rejects the subscription', async () => {
    const closed = await startGateway({
      REQUIRE_TOKEN_TO_READ: 'true',
      JWT_SECRET: 'a secret of more than 32 characters',
    });
    const { page } = await openWidgets(browser, closed.url, '<live-count post="secret">some</live-count>');
    await page.evaluate(`globalThis.refusals = [];
      addEventListener('live-error', ({ detail }) => refusals.push(detail));
      import('/client/tallycast.js').then(() => undefined)`);
    await until(async () => (await page.evaluate<number>('refusals.length')) > 0, 'the page gets live-error');
    expect(await page.evaluate('refusals[0]')).toMatchObject({ post: 'secret', code: 'UNAUTHORIZED' });
    expect(await page.locator('live-count').innerText()).toBe('some');
    expect(await page.evaluate('widgets()[0].count')).toBeUndefined();
  });

  test('the content stays if the post id is invalid', async () => {
    const { page } = await openWidgets(browser, gateway.url, '<live-count post="no id">some</live-count>');
    const refusal = page.evaluate(`new Promise((resolve) => {
      addEventListener('live-error', ({ detail }) => resolve(detail), { once: true });
      void import('/client/tallycast.js');
    })`);
    expect(await refusal).toMatchObject({ post: 'no id', code: 'BAD_REQUEST' });
    expect(await page.locator('live-count').innerText()).toBe('some');
  });
});

describe('events and clients', () => {
  test('a page gets events for every change and for its own likes', async () => {
    const body = '<p><live-like post="events"></live-like><live-count post="events"></live-count></p>';
    const { page, complaints } = await openWidgets(browser, gateway.url, body);
    await page.evaluate(`globalThis.received = [];
      for (const name of ['live-count-change', 'live-like'])
        addEventListener(name, ({ target, detail }) => received.push([target.localName, name, detail]));
      import('/client/tallycast.js').then(() => undefined)`);
    await untilCount(page, 'live-count', 0);
    await page.getByRole('button', { name: 'Like' }).click();
    await page.locator('live-like[data-on][data-count="1"]').waitFor();
    await like('events');
    await untilCount(page, 'live-count', 2);
    const received = await page.evaluate<[string, string, object][]>('received');
    const eventsOf = (element: string): unknown[] => received.filter(([target]) => target === element).slice(0, 4);
    const changeEvent = (count: number, delta: number, source: string): unknown[] => [
      'live-count-change',
      { post: 'events', metric: 'likes', count, delta, source },
    ];
    expect(eventsOf('live-count')).toEqual([
      ['live-count', ...changeEvent(0, 0, 'snapshot')],
      ['live-count', ...changeEvent(1, 1, 'local')],
      ['live-count', ...changeEvent(2, 1, 'remote')],
    ]);
    expect(eventsOf('live-like')[1]).toEqual(['live-like', 'live-like', { post: 'events', metric: 'likes', on: true }]);
    expect(await complaints()).toEqual([]);
  });

  test('widgets use their own client, or else that of the page', async () => {
    const likes = '<live-like post="given"></live-like>'.repeat(2);
    const { page } = await openWidgets(browser, gateway.url, likes);
    // The property is set before the elements are defined, on elements without accessors.
    await page.evaluate(`import('/client/tallycast.js').then(({ connectWidgets, createLiveCounts }) => {
      const clientOf = (actor) => createLiveCounts(location.origin, { actor });
      connectWidgets(clientOf('ann'));
      widgets()[1].live = clientOf('bob');
      globalThis.moveTo = (actor) => connectWidgets(clientOf(actor));
    })`);
    for (const nth of [1, 2]) await untilCount(page, `:nth-match(live-like, ${nth})`, 0);
    await page.getByRole('button').first().click();
    for (const nth of [1, 2]) await untilCount(page, `:nth-match(live-like, ${nth})`, 1);
    const pressed = (): Promise<boolean[]> => page.evaluate("widgets().map((widget) => 'on' in widget.dataset)");
    expect(await pressed()).toEqual([true, false]);
    await page.evaluate("moveTo('carl')");
    await until(async () => (await pressed()).every((on) => !on), 'no widget is on');
    await page.evaluate("moveTo('ann')");
    await until(async () => (await pressed())[0] === true, 'the widgets are on');
  });

  test('a like made before connectWidgets counts, and no error is emitted', async () => {
    const { page } = await openWidgets(browser, gateway.url, '<live-like post="moved"></live-like>');
    await page.evaluate("import('/client/tallycast.js').then(() => undefined)");
    await untilCount(page, 'live-like', 0);
    await page.evaluate(`import('/client/tallycast.js').then(({ connectWidgets, createLiveCounts }) => {
      globalThis.failures = [];
      addEventListener('live-error', ({ detail }) => failures.push(detail));
      widgets()[0].shadowRoot.querySelector('button').click();
      connectWidgets(createLiveCounts(location.origin, { actor: 'bob' }));
    })`);
    await page.locator('live-like[data-count="1"]:not([data-on])').waitFor();
    expect(await page.evaluate('failures')).toEqual([]);
  });

  test('properties set the attributes of the same name, even before the script runs', async () => {
    const { page, complaints } = await openWidgets(
      browser,
      gateway.url,
      '<live-count></live-count><live-like></live-like>',
    );
    await page.evaluate(`{
      const [count, like] = widgets();
      Object.assign(count, { post: 'set', metric: 'views', count: true });
      like.post = 'set';
      import('/client/tallycast.js').then(() => undefined);
    }`);
    await untilCount(page, 'live-count[metric=views][count]', 1);
    await untilCount(page, 'live-like[post=set]', 0);
    await page.evaluate("Object.assign(widgets()[0], { metric: undefined, count: false, post: 'other' })");
    await untilCount(page, 'live-count[post=other]:not([metric], [count])', 0);
    await page.evaluate(`{
      const made = document.createElement('live-count');
      Object.assign(made, { post: 'other', metric: 'views' });
      document.body.append(made);
    }`);
    await untilCount(page, 'live-count[metric=views]', 0);
    expect(await complaints()).toEqual([]);
  });

  test('an element counts one view when it comes into view', async () => {
    const row = '<p class="row"></p>';
    const body = `<live-count post="read" metric="views" count></live-count>${row.repeat(60)}
      <live-count post="below" metric="views" count></live-count>`;
    const { page } = await openWidgets(browser, gateway.url, SCRIPT + body);
    await untilCount(page, 'live-count[post=read]', 1);
    const viewsOf = async (post: string): Promise<unknown> =>
      ((await (await fetch(`${gateway.url}/v1/${post}/views`)).json()) as { count: number }).count;
    expect(await viewsOf('below')).toBe(0);
    await page.locator('live-count[post=below]').scrollIntoViewIfNeeded();
    await untilCount(page, 'live-count[post=below]', 1);
    // The last element is observed later and operations go out in order, so a second view would be counted by now.
    await page.evaluate(`{
      const last = document.createElement('live-count');
      for (const [name, value] of [['post', 'last'], ['metric', 'views'], ['count', '']]) last.setAttribute(name, value);
      document.body.append(document.querySelector('[post=read]'), last);
    }`);
    await page.locator('live-count[post=last]').scrollIntoViewIfNeeded();
    await untilCount(page, 'live-count[post=last]', 1);
    expect(await viewsOf('read')).toBe(1);
  });
});

import { createHash } from 'node:crypto';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import type { Browser, Page } from 'playwright-core';
import { launchChromium } from '../support/chromium.js';
import { type GatewayProcess, startGateway, stopAll } from '../support/gateway-process.js';
import { ADMIN_TOKEN, administer, readWinners } from '../support/milestones.js';
import { openPage } from './demo-page.js';

let browser: Browser;
let gateway: GatewayProcess;

beforeAll(async () => {
  [gateway, browser] = await Promise.all([startGateway({ ADMIN_TOKEN, COUNT_BOTS: 'true' }), launchChromium()]);
});

afterAll(async () => {
  await browser.close();
  await stopAll();
});

/** The key of an actor in the record: see docs/milestones.md. */
function toKey(name: string): string {
  return String(createHash('sha256').update(name).digest().readBigInt64BE(0));
}

function start(): Promise<Response> {
  return fetch(`${gateway.url}/demo/raffle`, { method: 'POST' });
}

/** Resolves with the raffle's post once the page has a new one. */
async function untilNew(page: Page, before: string | null): Promise<string> {
  await page.waitForURL((url) => ![null, before].includes(url.searchParams.get('post')));
  return new URL(page.url()).searchParams.get('post')!;
}

test('two raffles have one winner each, whom the gateway has recorded as the hundredth', async () => {
  const { page, complaints } = await openPage(browser, `${gateway.url}/raffle/`);
  let post: string | null = null;
  for (let round = 0; round < 2; round++) {
    if (round > 0) await page.getByTestId('again').click();
    post = await untilNew(page, post);
    await page.getByTestId('crowd').click();
    await page.locator('[data-testid=winner][data-actor]').waitFor();
    await page.locator('tr[data-won]').waitFor();
    const { reached } = await readWinners(gateway.url, post, 'views');
    expect(reached).toEqual([expect.objectContaining({ n: 100, total: 100, final: true })]);
    const { actor } = reached[0] as unknown as { actor: string };
    const shown = (await page.getByTestId('winner').getAttribute('data-actor'))!;
    expect(toKey(shown)).toBe(actor);
    const won = await page.evaluate<string[]>(
      "[...document.querySelectorAll('tr[data-won]')].map(({ dataset }) => dataset.actor)",
    );
    expect(won).toEqual([shown]);
    expect(JSON.parse((await page.getByTestId('record').textContent())!)).toMatchObject({ post, n: 100, final: true });
  }
  expect(complaints.filter((text) => !text.includes('429'))).toEqual([]);
  await page.context().close();
});

test('the visitor may win, and another window of the same raffle shows that somebody else did', async () => {
  const { page } = await openPage(browser, `${gateway.url}/raffle/`);
  const post = await untilNew(page, null);
  const other = await openPage(browser, `${gateway.url}/raffle/?post=${post}`);
  for (let n = 0; n < 99; n++) {
    await fetch(`${gateway.url}/v1/${post}/views`, { method: 'PUT', body: '{"action":"increment"}' });
  }
  await page.locator('live-milestone[data-left="1"]').waitFor();
  await page.getByTestId('view').click();
  await page.locator('[data-testid=winner][data-actor=you]').waitFor();
  await page.locator('live-milestone[data-state=won]').waitFor();
  await other.page.locator('[data-testid=winner][data-actor=elsewhere]').waitFor();
  await page.context().close();
  await other.page.context().close();
});

test('a page whose raffle the gateway has dropped says so', async () => {
  const { page } = await openPage(browser, `${gateway.url}/raffle/`);
  const post = await untilNew(page, null);
  await administer(gateway.url, 'DELETE', `?post=${post}&metric=views&at=100`);
  await page.reload();
  await page.getByText('so nobody wins it').waitFor();
  expect(await page.getByTestId('crowd').isDisabled()).toBe(true);
  await page.getByTestId('again').click();
  await untilNew(page, post);
  await page.getByText('Nobody has won yet.').waitFor();
  expect(await page.getByTestId('crowd').isEnabled()).toBe(true);
  await page.context().close();
});

test('a gateway starts one raffle a second and says when the next one can start, and has no other method there', async () => {
  const answers = await Promise.all([start(), start(), start()]);
  const statuses = answers.map(({ status }) => status).sort();
  expect(statuses.filter((status) => status === 429).length).toBeGreaterThanOrEqual(2);
  const limited = answers.find(({ status }) => status === 429)!;
  expect(await limited.json()).toMatchObject({ code: 'RATE_LIMITED', retryable: true });
  expect((await fetch(`${gateway.url}/demo/raffle`)).status).toBe(404);
});

import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { Browser, Page } from 'playwright-core';
import { launchChromium, newContext } from '../support/chromium.js';
import { readCount } from '../support/events.js';
import { type GatewayProcess, startGateway, stopAll } from '../support/gateway-process.js';
import { startProxy, type TcpProxy } from '../support/tcp-proxy.js';
import { until } from '../support/until.js';

const RUNS = Math.min(20, 2 * Number(process.env['TEST_SCALE'] ?? 1));
const CARDS = 12;
const LIKED = 5;

let browser: Browser;
let gateway: GatewayProcess;
/** A round trip of 300 ms. */
let network: TcpProxy;

beforeAll(async () => {
  [gateway, browser] = await Promise.all([startGateway(), launchChromium()]);
  network = await startProxy(gateway, 150);
});

afterAll(async () => {
  await browser.close();
  await network.close();
  await stopAll();
});

/**
 * A page of a new visitor with the cards.
 * @param received gets the messages over its socket, in both directions
 */
async function open(
  name: string,
  environment = '{}',
  received: (message: string) => void = () => undefined,
): Promise<Page> {
  const context = await newContext(browser);
  const page = await context.newPage();
  page.on('websocket', (socket) => {
    socket.on('framesent', ({ payload }) => received(String(payload)));
    socket.on('framereceived', ({ payload }) => received(String(payload)));
  });
  await page.goto(`http://127.0.0.1:${network.port}/healthz`);
  await page.evaluate(`import('/client/tallycast.js').then(({ createLiveCounts }) => {
    globalThis.live = createLiveCounts(location.origin, { environment: ${environment} });
    globalThis.posts = Array.from({ length: ${CARDS} }, (_, n) => live.post('${name}-' + n));
    for (const post of posts) post.subscribe(() => undefined);
  })`);
  return page;
}

async function untilSynced(page: Page): Promise<void> {
  await until(() => page.evaluate<boolean>(`live.state === 'synced'`), 'the page is synced');
}

/** Counts a view of each card, and likes one of them. */
async function viewAndLike(page: Page): Promise<void> {
  await page.evaluate(`for (const post of posts) void post.view(); void posts[${LIKED}].like()`);
}

test('a like goes first, with the view of its card, and no operation waits for an acknowledgement', async () => {
  const messages: string[] = [];
  const page = await open('wire', '{}', (message) => messages.push(message));
  await untilSynced(page);
  await viewAndLike(page);
  await until(() => page.evaluate<boolean>('live.waiting === 0'), 'all operations are acknowledged');
  const isOperation = (message: string): boolean => /^42\d+\["(add|set)"/.test(message);
  const firstAnswer = messages.findIndex((message) => message.includes('"applied"'));
  const before = messages.slice(0, firstAnswer).filter(isOperation);
  expect(before).toHaveLength(CARDS + 1);
  expect(before.slice(0, 2).map((message) => /"(add|set)".*"post":"([^"]+)"/.exec(message)?.slice(1))).toEqual([
    ['add', `wire-${LIKED}`],
    ['set', `wire-${LIKED}`],
  ]);
  await page.close();
});

describe.each([
  ['before the first connection', false, '{}'],
  // No request of a leaving page gets through: the socket has to be enough.
  ['over a socket alone', true, '{ fetch: () => Promise.reject(new Error("blocked")) }'],
])('a like made %s, with twelve views, at a round trip of 300 ms', (_, isSynced, environment) => {
  test.each([100, 500, 1_000, 2_000])('the like is counted when the page is closed %d ms later', async (ms) => {
    for (let run = 0; run < RUNS; run++) {
      const name = `${isSynced}-${ms}-${run}`;
      const page = await open(name, environment);
      if (isSynced) await untilSynced(page);
      await viewAndLike(page);
      await sleep(ms);
      await page.close();
      const count = (card: number, metric: string) => readCount(gateway.url, `${name}-${card}`, metric);
      // No later visit helps: it would be another visitor's.
      await until(async () => (await count(LIKED, 'likes')) === 1, `the like of run ${run} is counted`);
      for (let card = 0; card < CARDS; card++)
        await until(async () => (await count(card, 'views')) === 1, `a view of card ${card} is counted`);
    }
  });
});

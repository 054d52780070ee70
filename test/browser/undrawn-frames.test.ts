import { afterAll, beforeAll, expect, test } from '@jest/globals';
import type { Browser } from 'playwright-core';
import { launchChromium, newContext } from '../support/chromium.js';
import { readCount } from '../support/events.js';
import { type GatewayProcess, startGateway, stopAll } from '../support/gateway-process.js';
import { until } from '../support/until.js';

let browser: Browser;
let gateway: GatewayProcess;

beforeAll(async () => {
  [gateway, browser] = await Promise.all([startGateway({ ALLOWED_ORIGINS: '*' }), launchChromium()]);
});

afterAll(async () => {
  await browser.close();
  await stopAll();
});

test('a view from a frame of another site that draws nothing is counted', async () => {
  const context = await newContext(browser);
  await context.grantPermissions(['local-network-access']);
  const framed = `http://localhost:${gateway.port}/framed`;
  const script = `import('${gateway.url}/client/tallycast.js').then(({ createLiveCounts }) => {
    void createLiveCounts('${gateway.url}').post('framed').view();
  })`;
  const body = (html: string) => ({ contentType: 'text/html; charset=utf-8', body: `<!doctype html>${html}` });
  await context.route(framed, (route) => route.fulfill(body(`<script type="module">${script}</script>`)));
  await context.route(`${gateway.url}/outer`, (route) =>
    route.fulfill(body(`<iframe style="display: none" src="${framed}"></iframe>`)),
  );
  const page = await context.newPage();
  await page.goto(`${gateway.url}/outer`);
  await until(async () => (await readCount(gateway.url, 'framed', 'views')) === 1, 'the view is counted');
  expect(await page.frames()[1]!.evaluate('document.hidden')).toBe(false);
});

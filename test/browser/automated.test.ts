import { afterAll, beforeAll, expect, test } from '@jest/globals';
import type { Browser } from 'playwright-core';
import { DRIVEN_BY_A_PERSON, launchAutomated } from '../support/chromium.js';
import { readCount } from '../support/events.js';
import { type GatewayProcess, startGateway, stopAll } from '../support/gateway-process.js';
import { untilMetric } from '../support/metrics.js';
import { until } from '../support/until.js';
import { like, newPerson, openTab } from './windows.js';

let browser: Browser;
let gateway: GatewayProcess;

beforeAll(async () => {
  const [, userAgent] = DRIVEN_BY_A_PERSON;
  [gateway, browser] = await Promise.all([startGateway(), launchAutomated([userAgent])]);
});

afterAll(async () => {
  await browser.close();
  await stopAll();
});

test('a page in a browser that a program drives says so: its view is not counted, and its like is', async () => {
  const context = await newPerson(browser);
  const notice = context.waitForEvent('console', (message) => message.text().includes('COUNT_BOTS=true'));
  const page = await openTab(context, gateway.url, 'driven');
  await notice;
  await untilMetric(gateway.url, 'tallycast_bot_operations_total', 1);
  await like(page);
  await until(async () => (await readCount(gateway.url, 'driven', 'likes')) === 1, 'the like is counted');
  expect(await readCount(gateway.url, 'driven', 'views')).toBe(0);
});

import { afterAll, beforeAll, expect, test } from '@jest/globals';
import type { Browser } from 'playwright-core';
import { launchChromium } from '../support/chromium.js';
import { stopAll } from '../support/gateway-process.js';
import { ADMIN_TOKEN, administer, readMilestones } from '../support/milestones.js';
import { RegionProcesses } from '../support/region-processes.js';
import { openWidgets, SCRIPT } from './widgets-page.js';

/** Drops the events of milestones on their way to the client. */
const LOSE_EVENTS = `
  globalThis.lost = 0;
  globalThis.WebSocket = class extends WebSocket {
    set onmessage(receive) {
      super.onmessage = (message) => (message.data.startsWith('42["milestone"') ? lost++ : receive(message));
    }
  };
`;

const TAG = '<live-milestone post="far" metric="views" at="3"></live-milestone>';

let browser: Browser;
let world: RegionProcesses;

beforeAll(async () => {
  const more = { ADMIN_TOKEN, COUNT_BOTS: 'true' };
  [world, browser] = await Promise.all([
    RegionProcesses.start(['eu', 'us'], { gateways: 1, redis: false, more }),
    launchChromium(),
  ]);
});

afterAll(async () => {
  await browser.close();
  await world.close();
  await stopAll();
});

test('a page of a region that has nothing armed finds a milestone of another region even if its event is lost', async () => {
  const [eu, us] = world.urls as [string, string];
  expect(await administer(eu, 'PUT', '', { post: 'far', metric: 'views', at: 3, from: 2 })).toMatchObject({
    status: 201,
  });
  expect(await readMilestones(us, 'far', 'views')).toEqual({ armed: [], reached: [], partial: true });

  const { page } = await openWidgets(browser, us, SCRIPT + TAG);
  const warnings: string[] = [];
  page.on('console', (message) => {
    if (message.text().startsWith('tallycast:')) warnings.push(message.text());
  });
  await page.addInitScript(LOSE_EVENTS);
  await page.reload();
  await page.locator('live-milestone[data-left="3"]').waitFor();
  const view = { method: 'PUT', body: '{"action":"increment"}' };
  for (let left = 3; left > 0;) if ((await fetch(`${eu}/v1/far/views`, view)).ok) left--;
  await page.locator('live-milestone[data-state=reached]').waitFor({ timeout: 60_000 });
  expect(await page.evaluate('lost')).toBe(1);
  expect(warnings).toEqual([]);
  expect(await readMilestones(eu, 'far', 'views')).toMatchObject({ armed: [], reached: [{ n: 3 }] });
});

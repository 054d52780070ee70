import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { launchTabs, type Tabs } from '../support/chromium.js';
import { type GatewayProcess, startGateway, stopAll } from '../support/gateway-process.js';
import { until } from '../support/until.js';
import { untilSynced, openTab, untilShown } from './windows.js';

/** A little longer than a hidden page stays connected. */
const HIDDEN_MS = 31_000;

let tabs: Tabs;
let gateway: GatewayProcess;

beforeAll(async () => {
  [gateway, tabs] = await Promise.all([startGateway(), launchTabs()]);
});

afterAll(async () => {
  await tabs.close();
  await stopAll();
});

async function readViewers(): Promise<number> {
  const answer = await fetch(`${gateway.url}/v1/hidden/live`);
  return ((await answer.json()) as { count: number }).count;
}

test('a tab that is hidden for a while closes its socket, and is current again when it is shown', async () => {
  const { context } = tabs;
  await context.clock.install();
  const tab = await openTab(context, gateway.url, 'hidden');
  await until(async () => (await readViewers()) === 1, 'the gateway counts a viewer');

  const other = await context.newPage();
  await other.bringToFront();
  expect(await tab.evaluate('document.visibilityState')).toBe('hidden');
  await tab.clock.runFor(HIDDEN_MS);
  await until(async () => (await readViewers()) === 0, 'the gateway counts none');
  expect(await tab.locator('[data-testid=state]').getAttribute('data-state')).toBe('syncing');

  const like = { method: 'PUT', headers: { 'Content-Type': 'application/json', 'Actor-Id': 'bob' } };
  await fetch(`${gateway.url}/v1/hidden/likes`, { ...like, body: '{"action":"increment"}' });
  await tab.bringToFront();
  await untilSynced(tab);
  await untilShown(tab, 'likes', 1);
  await until(async () => (await readViewers()) === 1, 'the gateway counts it again');
});

import { afterAll, afterEach, beforeAll, describe, test } from '@jest/globals';
import type { Browser, Page } from 'playwright-core';
import { launchChromium } from '../support/chromium.js';
import { type GatewayProcess, startGateway, stopAll } from '../support/gateway-process.js';
import { startRedis, stopRedis } from '../support/redis-server.js';
import { startProxy, type TcpProxy } from '../support/tcp-proxy.js';
import { until } from '../support/until.js';
import { all, closeWindows, hasState, isLiked, isLive, like, openTimedWindow, openWindow, shows } from './windows.js';

const OFFLINE_MS = 10_000;

let browser: Browser;
let gateway: GatewayProcess;
let gateways: GatewayProcess[];

beforeAll(async () => {
  const { url } = await startRedis();
  const shared = { REDIS_URL: url, TRUST_PROXY: 'loopback' };
  [browser, gateway, ...gateways] = await Promise.all([
    launchChromium(),
    startGateway(),
    startGateway(shared),
    startGateway(shared),
  ]);
});

afterEach(() => closeWindows(browser));

afterAll(async () => {
  await browser.close();
  await stopAll();
  await stopRedis();
});

/** What a newcomer sees is what the gateway has. */
async function afterReload(pages: readonly Page[], likes: number, views: number): Promise<void> {
  await all(pages, (page) => page.reload().then(() => isLive(page)));
  await all(pages, (page) => shows(page, 'likes', likes));
  await all(pages, (page) => shows(page, 'views', views));
}

describe('one gateway', () => {
  async function restart(): Promise<void> {
    gateway = await startGateway({ PORT: String(gateway.port), DATA_DIR: gateway.dataDir });
  }

  test('offline for 10 s: likes made meanwhile show at once, and count once when the network is back', async () => {
    const proxy = await startProxy(gateway);
    const url = `http://127.0.0.1:${proxy.port}`;
    const ann = await openTimedWindow(browser, url, 'offline');
    const bob = await openWindow(browser, url, 'offline');
    await all([ann, bob], (page) => shows(page, 'views', 2));

    await like(ann);
    await all([ann, bob], (page) => shows(page, 'likes', 1));
    let lost = false;
    proxy.onReply = (chunk) => {
      if (lost || !chunk.includes('"on":false')) return 'pass';
      lost = true;
      return 'drop';
    };
    await like(ann);
    await until(() => lost, 'the answer is lost, of a like that was taken back');
    // Chromium keeps sockets that are open when it is told to be offline; a network that is gone does not.
    await ann.context().setOffline(true);
    proxy.cut();
    await hasState(ann, 'syncing');
    await isLive(bob);
    await like(bob);
    await shows(bob, 'likes', 1);
    await like(ann);
    await isLiked(ann, true);
    await like(ann);
    await isLiked(ann, false);
    await like(ann);
    await ann.clock.runFor(OFFLINE_MS);
    await isLiked(ann, true);
    await shows(ann, 'likes', 1);
    await shows(bob, 'live', 1);

    await ann.context().setOffline(false);
    await all([ann, bob], isLive);
    await all([ann, bob], (page) => shows(page, 'likes', 2));
    await all([ann, bob], (page) => shows(page, 'live', 2));
    await afterReload([ann, bob], 2, 4);
    await isLiked(ann, true);
    await closeWindows(browser);
    await proxy.close();
  });

  test('killed and started again: both windows recover, and likes made meanwhile count once', async () => {
    const ann = await openWindow(browser, gateway.url, 'killed');
    const bob = await openWindow(browser, gateway.url, 'killed');
    const pages = [ann, bob];
    await like(ann);
    await all(pages, (page) => shows(page, 'likes', 1));
    await all(pages, (page) => shows(page, 'views', 2));

    await gateway.kill('SIGKILL');
    await all(pages, (page) => hasState(page, 'syncing'));
    await like(bob);
    await isLiked(bob, true);
    await like(ann);
    await isLiked(ann, false);
    await like(ann);
    await isLiked(ann, true);
    await restart();

    await all(pages, isLive);
    await all(pages, (page) => shows(page, 'likes', 2));
    await all(pages, (page) => shows(page, 'live', 2));
    await afterReload(pages, 2, 4);
    await all(pages, (page) => isLiked(page, true));

    // A window that comes back after a kill shows how many viewers are left.
    await all(pages, (page) => shows(page, 'live', 2));
    await gateway.kill('SIGKILL');
    await bob.close();
    await hasState(ann, 'syncing');
    await restart();
    await isLive(ann);
    await shows(ann, 'live', 1);
  });
});

describe('two gateways behind a balancer', () => {
  let balancer: TcpProxy;
  let next: GatewayProcess;

  beforeAll(async () => {
    next = gateways[0]!;
    balancer = await startProxy({
      get port() {
        return next.port;
      },
    });
  });

  afterAll(() => balancer.close());

  test('one is killed: its windows go on over the other, and nothing is lost or counted twice', async () => {
    const url = `http://127.0.0.1:${balancer.port}`;
    const [doomed, other] = gateways as [GatewayProcess, GatewayProcess];
    const ann = await openWindow(browser, url, 'moved');
    next = other;
    const bob = await openWindow(browser, url, 'moved');
    await like(ann);
    await all([ann, bob], (page) => shows(page, 'likes', 1));
    await all([ann, bob], (page) => shows(page, 'views', 2));

    const killed = doomed.kill('SIGKILL');
    await like(ann);
    await killed;
    await like(ann);
    await like(bob);
    await isLiked(bob, true);
    await isLive(ann);
    await all([ann, bob], (page) => shows(page, 'likes', 2));
    await like(ann);
    await all([ann, bob], (page) => shows(page, 'likes', 1));
    await afterReload([ann, bob], 1, 4);
    await isLiked(ann, false);
    await until(async () => (await viewers(other, 'moved')) === 2, 'the other gateway has both viewers');
  });
});

async function viewers(gateway: GatewayProcess, post: string): Promise<number> {
  const answer = await fetch(`${gateway.url}/v1/${post}/live`);
  return ((await answer.json()) as { count: number }).count;
}

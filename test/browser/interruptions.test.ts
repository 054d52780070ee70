import { afterAll, afterEach, beforeAll, describe, test } from '@jest/globals';
import type { Browser, Page } from 'playwright-core';
import { launchChromium } from '../support/chromium.js';
import { type GatewayProcess, startGateway, stopAll } from '../support/gateway-process.js';
import { startRedis, stopRedis } from '../support/redis-server.js';
import { startProxy, type TcpProxy } from '../support/tcp-proxy.js';
import { until } from '../support/until.js';
import {
  forAll,
  closeWindows,
  untilState,
  untilLiked,
  untilSynced,
  like,
  openTimedWindow,
  openWindow,
  untilShown,
} from './windows.js';

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

/** Reloads the pages, which then show the gateway's counts. */
async function checkAfterReload(pages: readonly Page[], likes: number, views: number): Promise<void> {
  await forAll(pages, (page) => page.reload().then(() => untilSynced(page)));
  await forAll(pages, (page) => untilShown(page, 'likes', likes));
  await forAll(pages, (page) => untilShown(page, 'views', views));
}

describe('one gateway', () => {
  async function restart(): Promise<void> {
    gateway = await startGateway({ PORT: String(gateway.port), DATA_DIR: gateway.dataDir });
  }

  test('likes made while the page is offline for 10 s show at once, and count once when the network is back', async () => {
    const proxy = await startProxy(gateway);
    const url = `http://127.0.0.1:${proxy.port}`;
    const ann = await openTimedWindow(browser, url, 'offline');
    const bob = await openWindow(browser, url, 'offline');
    await forAll([ann, bob], (page) => untilShown(page, 'views', 2));

    await like(ann);
    await forAll([ann, bob], (page) => untilShown(page, 'likes', 1));
    let lost = false;
    proxy.onReply = (chunk) => {
      if (lost || !chunk.includes('"on":false')) return 'pass';
      lost = true;
      return 'drop';
    };
    await like(ann);
    await until(() => lost, 'the acknowledgement of an unlike is lost');
    // Chromium's offline mode keeps open sockets; a lost network does not.
    await ann.context().setOffline(true);
    proxy.cut();
    await untilState(ann, 'syncing');
    await untilSynced(bob);
    await like(bob);
    await untilShown(bob, 'likes', 1);
    await like(ann);
    await untilLiked(ann, true);
    await like(ann);
    await untilLiked(ann, false);
    await like(ann);
    await ann.clock.runFor(OFFLINE_MS);
    await untilLiked(ann, true);
    await untilShown(ann, 'likes', 1);
    await untilShown(bob, 'live', 1);

    await ann.context().setOffline(false);
    await forAll([ann, bob], untilSynced);
    await forAll([ann, bob], (page) => untilShown(page, 'likes', 2));
    await forAll([ann, bob], (page) => untilShown(page, 'live', 2));
    await checkAfterReload([ann, bob], 2, 4);
    await untilLiked(ann, true);
    await closeWindows(browser);
    await proxy.close();
  });

  test('both windows recover after the gateway is killed and restarted, and likes made meanwhile count once', async () => {
    const ann = await openWindow(browser, gateway.url, 'killed');
    const bob = await openWindow(browser, gateway.url, 'killed');
    const pages = [ann, bob];
    await like(ann);
    await forAll(pages, (page) => untilShown(page, 'likes', 1));
    await forAll(pages, (page) => untilShown(page, 'views', 2));

    await gateway.kill('SIGKILL');
    await forAll(pages, (page) => untilState(page, 'syncing'));
    await like(bob);
    await untilLiked(bob, true);
    await like(ann);
    await untilLiked(ann, false);
    await like(ann);
    await untilLiked(ann, true);
    await restart();

    await forAll(pages, untilSynced);
    await forAll(pages, (page) => untilShown(page, 'likes', 2));
    await forAll(pages, (page) => untilShown(page, 'live', 2));
    await checkAfterReload(pages, 2, 4);
    await forAll(pages, (page) => untilLiked(page, true));

    // A window that reconnects after a kill shows the number of remaining viewers.
    await forAll(pages, (page) => untilShown(page, 'live', 2));
    await gateway.kill('SIGKILL');
    await bob.close();
    await untilState(ann, 'syncing');
    await restart();
    await untilSynced(ann);
    await untilShown(ann, 'live', 1);
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

  test('the windows of a killed gateway continue over the other one, and no like is lost or counted twice', async () => {
    const url = `http://127.0.0.1:${balancer.port}`;
    const [doomed, other] = gateways as [GatewayProcess, GatewayProcess];
    const ann = await openWindow(browser, url, 'moved');
    next = other;
    const bob = await openWindow(browser, url, 'moved');
    await like(ann);
    await forAll([ann, bob], (page) => untilShown(page, 'likes', 1));
    await forAll([ann, bob], (page) => untilShown(page, 'views', 2));

    const killed = doomed.kill('SIGKILL');
    await like(ann);
    await killed;
    await like(ann);
    await like(bob);
    await untilLiked(bob, true);
    await untilSynced(ann);
    await forAll([ann, bob], (page) => untilShown(page, 'likes', 2));
    await like(ann);
    await forAll([ann, bob], (page) => untilShown(page, 'likes', 1));
    await checkAfterReload([ann, bob], 1, 4);
    await untilLiked(ann, false);
    await until(async () => (await readViewers(other, 'moved')) === 2, 'the other gateway has both viewers');
  });
});

async function readViewers(gateway: GatewayProcess, post: string): Promise<number> {
  const answer = await fetch(`${gateway.url}/v1/${post}/live`);
  return ((await answer.json()) as { count: number }).count;
}

import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { EventSource } from 'eventsource';
import type { Browser } from 'playwright-core';
import { startAddressedProxy } from '../support/addressed-proxy.js';
import { launchChromium } from '../support/chromium.js';
import { closeClients, connect, expectOk } from '../support/clients.js';
import { allAccepted, postEvents, readCount } from '../support/events.js';
import { startGateway, stopAll } from '../support/gateway-process.js';
import { until } from '../support/until.js';
import { openPage } from './demo-page.js';
import { like, newPerson, untilLiked, untilShown, untilSynced } from './windows.js';

const PATH = '/live';

let browser: Browser;
let urls: ReadonlyMap<string, string>;
const proxies: { close(): void }[] = [];

beforeAll(async () => {
  const [plain, withPath, behindProxy, chromium] = await Promise.all([
    startGateway(),
    startBehindProxy({ BASE_PATH: PATH }, ''),
    startBehindProxy({}, PATH),
    launchChromium(),
  ]);
  browser = chromium;
  urls = new Map([
    ['at the root', plain.url],
    ['with BASE_PATH', withPath],
    ['behind a proxy that removes the path', behindProxy],
  ]);
});

afterAll(async () => {
  await closeClients();
  await browser.close();
  for (const proxy of proxies) proxy.close();
  await stopAll();
});

/** Starts a gateway behind a proxy for PATH. @returns the URL for clients */
async function startBehindProxy(env: Record<string, string>, removedPath: string): Promise<string> {
  const proxy = await startAddressedProxy(await startGateway(env), '203.0.113.9', removedPath);
  proxies.push(proxy);
  return proxy.url + PATH;
}

describe.each(['at the root', 'with BASE_PATH', 'behind a proxy that removes the path'])('a gateway %s', (setUp) => {
  let url: string;
  let path: string;

  beforeAll(() => {
    url = urls.get(setUp)!;
    path = new URL(url).pathname.replace(/\/$/, '');
  });

  it('stock clients connect over long-polling and upgrade to a WebSocket', async () => {
    const options = { transports: ['polling', 'websocket'], path: `${path}/socket.io/` };
    const socket = connect(new URL(url).origin, { actor: 'ada' }, options);
    const upgraded = new Promise((resolve) => socket.io.engine.once('upgrade', resolve));
    expect(expectOk(await socket.emitWithAck('like', { post: 'stock' })).counts).toMatchObject({ likes: 1 });
    await upgraded;
    expect(await readCount(url, 'stock', 'likes')).toBe(1);
  });

  it('counts are changed, read, shown and followed over HTTP', async () => {
    const put = await fetch(`${url}/v1/http/views`, { method: 'PUT', body: '{"action":"increment"}' });
    expect(await put.json()).toMatchObject({ count: 1 });
    expect(await postEvents(url, [{ post: 'http' }])).toEqual(allAccepted(1));
    expect((await fetch(`${url}/view?post=http`, { method: 'POST' })).status).toBe(202);
    expect((await fetch(`${url}/v1/http/views.gif`)).headers.get('content-type')).toBe('image/gif');
    expect(await (await fetch(`${url}/v1/http/views.svg`)).text()).toContain('views: 4');
    const stream = new EventSource(`${url}/v1/stream?posts=http`);
    const snapshot = await new Promise<unknown>((resolve) => {
      stream.addEventListener('counts', ({ data }) => resolve(JSON.parse(String(data))));
    });
    stream.close();
    expect(snapshot).toMatchObject([{ post: 'http', views: 4 }]);
    for (const probe of ['/healthz', '/readyz', '/metrics']) expect((await fetch(url + probe)).status).toBe(200);
  });

  it('folders are redirected below the path, and the documentation names the address of the gateway', async () => {
    for (const folder of ['feed', 'docs']) expect((await fetch(`${url}/${folder}`)).url).toBe(`${url}/${folder}/`);
    const document = await fetch(`${url}/docs-json`);
    const { servers } = (await document.json()) as { servers: [{ url: string }] };
    expect(new URL(servers[0].url, document.url).href).toBe(`${url}/`);
  });

  it('the pages of the demo count, and link to each other', async () => {
    const { page, complaints } = await openPage(browser, `${url}/article/?post=demo`);
    await untilShown(page, 'views', 1);
    await like(page);
    await untilLiked(page, true);
    await untilSynced(page);
    expect(await page.locator('#tags').textContent()).toContain(`src="${url}/client/tallycast.js"`);
    await page.getByRole('link', { name: 'Wall', exact: true }).click();
    await page.waitForURL(`${url}/wall/`);
    await untilSynced(page);
    await page.getByRole('link', { name: 'Tallycast' }).click();
    await page.waitForURL(`${url}/`);
    await untilSynced(page);
    await page.context().close();
    expect(await readCount(url, 'demo', 'likes')).toBe(1);
    expect(complaints).toEqual([]);
  });

  it('a page that only loads the script counts at the gateway that served it', async () => {
    const person = await newPerson(browser);
    const page = await person.newPage();
    const html = `<script type="module" src="${url}/client/tallycast.js"></script><live-like post="tag"></live-like>`;
    await page.route('**/page-of-a-site', (route) => route.fulfill({ contentType: 'text/html', body: html }));
    await page.goto(`${new URL(url).origin}/page-of-a-site`);
    await untilShown(page, 'likes', 0);
    await like(page);
    await until(async () => (await readCount(url, 'tag', 'likes')) === 1, 'the like is counted');
    await person.close();
  });
});

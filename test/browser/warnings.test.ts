import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, expect, test } from '@jest/globals';
import { SignJWT } from 'jose';
import type { Browser, Page } from 'playwright-core';
import { launchChromium, newContext } from '../support/chromium.js';
import { freePort } from '../support/free-port.js';
import { type GatewayProcess, ROOT, startGateway, stopAll } from '../support/gateway-process.js';
import { until } from '../support/until.js';

const SECURE_PAGE = 'https://page.test';
/** Pages of https may use http: on loopback, so that the name of the gateway must not say that it is there. */
const INSECURE_GATEWAY = 'http://counts.test';

const SECRET = 'a secret of 32 characters or more';
const SCRIPT = readFileSync(join(ROOT, 'dist', 'client', 'tallycast.js'));

/** The policy of the page; empty: it has none. */
let policy = '';
/** A site beside the gateway. */
const site = createServer(({ url }, response) => {
  if (url === '/tallycast.js') response.writeHead(200, { 'Content-Type': 'text/javascript' }).end(SCRIPT);
  else
    response.writeHead(200, { 'Content-Type': 'text/html', 'Content-Security-Policy': policy }).end('<!doctype html>');
});
let origin: string;
let browser: Browser;
let gateway: GatewayProcess;
let withTokens: GatewayProcess;

beforeAll(async () => {
  await once(site.listen(0, '127.0.0.1'), 'listening');
  origin = `http://127.0.0.1:${(site.address() as AddressInfo).port}`;
  [gateway, withTokens, browser] = await Promise.all([
    startGateway(),
    startGateway({ ALLOWED_ORIGINS: origin, JWT_SECRET: SECRET }),
    launchChromium([`--host-resolver-rules=MAP counts.test 127.0.0.1`]),
  ]);
});

afterEach(async () => {
  policy = '';
  for (const context of browser.contexts()) await context.close();
});

afterAll(async () => {
  await browser.close();
  await stopAll();
  site.closeAllConnections();
  site.close();
});

interface Opened {
  readonly page: Page;
  /** The warnings of the client in the console. */
  readonly warnings: string[];
}

/** Opens two clients in the page that watch a post each, and counts their errors in `errors`. */
async function openPage(page: Page, url: string, options = ''): Promise<Opened> {
  const warnings: string[] = [];
  page.on('console', (message) => {
    if (message.type() === 'warning' && message.text().startsWith('tallycast')) warnings.push(message.text());
  });
  await page.evaluate(`import('/tallycast.js').then(({ createLiveCounts }) => {
    globalThis.errors = 0;
    for (const post of ['1', '2']) {
      const live = createLiveCounts('${url}', { ${options} });
      live.on('error', () => errors++);
      live.post(post).subscribe(() => undefined);
    }
  })`);
  return { page, warnings };
}

async function openSite(): Promise<Page> {
  const page = await (await newContext(browser)).newPage();
  await page.goto(origin);
  return page;
}

async function untilWarned({ warnings }: Opened): Promise<void> {
  await until(() => warnings.length > 0, 'the page gets a warning');
}

/** Each client warns when it is refused for the second time. */
async function untilRefused({ page }: Opened): Promise<void> {
  await until(() => page.evaluate<boolean>('errors === 4'), 'both clients are refused twice');
}

test('a refused origin is warned of once, with the entry of ALLOWED_ORIGINS that allows it', async () => {
  const opened = await openPage(await openSite(), gateway.url);
  await untilRefused(opened);
  expect(opened.warnings).toEqual([
    `tallycast: pages of ${origin} may not use this gateway; if they are yours, add ${origin} to its ALLOWED_ORIGINS`,
  ]);
});

test('a rejected token is warned of once, with what is wrong with it', async () => {
  const opened = await openPage(await openSite(), withTokens.url, `token: 'none'`);
  await untilRefused(opened);
  const reason = 'the token is not a valid JWT: it has to be a signed one, as its issuer made it';
  expect(opened.warnings).toEqual([`tallycast: ${reason}`]);
});

test('a tag whose first token has expired has its number and no warning', async () => {
  const good = await new SignJWT({ sub: 'ann' }).setProtectedHeader({ alg: 'HS256' }).sign(Buffer.from(SECRET));
  const { page, warnings } = await openPage(
    await openSite(),
    withTokens.url,
    `token: (refused) => refused ? '${good}' : 'old'`,
  );
  await page.evaluate(`import('/tallycast.js').then(({ connectWidgets, createLiveCounts }) => {
    const live = createLiveCounts('${withTokens.url}', { token: (refused) => refused ? '${good}' : 'old' });
    globalThis.codes = [];
    addEventListener('live-error', ({ detail }) => codes.push(detail.code));
    connectWidgets(live);
    document.body.innerHTML = '<live-count post="1"></live-count>';
  })`);
  await page.locator('live-count[data-count]').waitFor();
  expect(await page.evaluate('codes')).toEqual(['UNAUTHORIZED']);
  expect(warnings).toEqual([]);
});

test('a gateway that does not answer is warned of once, with its address', async () => {
  const url = `http://127.0.0.1:${await freePort()}`;
  const opened = await openPage(await openSite(), url);
  await untilWarned(opened);
  expect(opened.warnings).toEqual([`tallycast: no gateway answers at ${url}, or its ALLOWED_ORIGINS lacks ${origin}`]);
});

test('a policy of the page that forbids the gateway is warned of once, with the sources that allow it', async () => {
  policy = `default-src 'self'; script-src 'self' 'unsafe-eval'`;
  const opened = await openPage(await openSite(), gateway.url);
  await untilWarned(opened);
  // The policy forbids each transport, and both are tried.
  await until(
    () => opened.page.evaluate<boolean>(`performance.now() > 15_000`),
    'the gateway has not answered for long',
  );
  const sources = `${gateway.url} ${gateway.url.replace('http', 'ws')}`;
  expect(opened.warnings).toEqual([`tallycast: the page's policy needs connect-src ${sources}`]);
});

test('an insecure gateway of a secure page is warned of once', async () => {
  const page = await (await newContext(browser)).newPage();
  await page.route(`${SECURE_PAGE}/tallycast.js`, (route) =>
    route.fulfill({ contentType: 'text/javascript', body: SCRIPT }),
  );
  await page.route(`${SECURE_PAGE}/`, (route) => route.fulfill({ contentType: 'text/html', body: '<!doctype html>' }));
  await page.goto(SECURE_PAGE);
  const opened = await openPage(page, INSECURE_GATEWAY);
  await untilWarned(opened);
  expect(opened.warnings).toEqual([`tallycast: a page of https: cannot reach ${INSECURE_GATEWAY}: use https:`]);
});

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { CHROMIUM, DRIVEN_BY_A_PERSON, launchKeepingPages } from '../support/chromium.js';
import { postEvents, readCount } from '../support/events.js';
import { type GatewayProcess, startGateway, stopAll } from '../support/gateway-process.js';
import { serveFiles, type StaticServer } from '../support/static-server.js';
import { until } from '../support/until.js';
import { openWidgets, SCRIPT } from './widgets-page.js';

let directory: string;
let server: StaticServer;
let gateway: GatewayProcess;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'tallycast-kept-'));
  server = await serveFiles(directory);
  gateway = await startGateway({ ALLOWED_ORIGINS: server.url });
});

afterAll(async () => {
  await stopAll();
  await server.close();
  await rm(directory, { recursive: true, force: true });
});

async function untilViews(post: string, count: number): Promise<void> {
  await until(async () => (await readCount(gateway.url, post, 'views')) === count, `${post} has ${count} views`);
}

async function writePage(name: string, body: string): Promise<void> {
  await mkdir(join(directory, name));
  await writeFile(join(directory, name, 'index.html'), `<!doctype html><html lang="en"><title>${name}</title>${body}`);
}

test('a page that comes back from the back-forward cache counts again, once', async () => {
  const browser = await launchKeepingPages();
  try {
    const tag = '<live-count post="back" metric="views" count></live-count>';
    const { page } = await openWidgets(browser, gateway.url, SCRIPT + tag + tag);
    await page.evaluate("addEventListener('pageshow', ({ persisted }) => (globalThis.wasKept = persisted))");
    await untilViews('back', 1);
    await page.goto(`${gateway.url}/healthz`);
    await page.goBack({ waitUntil: 'commit' });
    await until(() => page.evaluate<boolean>('globalThis.wasKept === true'), 'the page comes back as it was');
    await untilViews('back', 2);
    await page.evaluate(`document.body.append(Object.assign(document.createElement('live-count'),
      { post: 'after', metric: 'views', count: true }))`);
    await untilViews('after', 1);
    expect(await readCount(gateway.url, 'back', 'views')).toBe(2);
  } finally {
    await browser.close();
  }
});

/** Opens a page as a person does: browsers load no page ahead while a program inspects them. */
async function openUninspected(url: string): Promise<() => Promise<void>> {
  const profile = await mkdtemp(join(tmpdir(), 'tallycast-profile-'));
  const options = ['--headless', '--no-sandbox', '--disable-gpu', '--no-first-run', '--remote-debugging-port=0'];
  const args = [...options, ...DRIVEN_BY_A_PERSON, `--user-data-dir=${profile}`, url];
  const browser = spawn(CHROMIUM, args, { stdio: 'ignore' });
  return async () => {
    const exited = once(browser, 'exit');
    browser.kill();
    await exited;
    await rm(profile, { recursive: true, force: true, maxRetries: 5 });
  };
}

test('a page that the browser loads ahead counts nothing until it is shown', async () => {
  await writePage(
    'next',
    `<script type="module" src="${gateway.url}/client/tallycast.js"></script>
     <live-count post="ahead" metric="views" count></live-count>
     <live-count post="ahead-hidden" metric="views" count hidden></live-count>
     <script>if (document.prerendering) setTimeout(() => {
       fetch('${gateway.url}/v1/events', { method: 'POST', body: '[{"post":"waited","metric":"views","by":1}]' });
     }, 3000)</script>`,
  );
  await writePage(
    'first',
    `<script type="speculationrules">{ "prerender": [{ "urls": ["/next/"], "eagerness": "immediate" }] }</script>
     <script>
       setInterval(async () => {
         const answer = await fetch('${gateway.url}/v1/leave/views');
         if ((await answer.json()).count > 0) location.href = '/next/';
       }, 200);
     </script>`,
  );
  const close = await openUninspected(`${server.url}/first/`);
  try {
    await untilViews('waited', 1);
    for (const post of ['ahead', 'ahead-hidden']) expect(await readCount(gateway.url, post, 'views')).toBe(0);
    await postEvents(gateway.url, [{ post: 'leave', metric: 'views', by: 1 }]);
    await untilViews('ahead', 1);
    await untilViews('ahead-hidden', 1);
    expect(await readCount(gateway.url, 'waited', 'views')).toBe(1);
  } finally {
    await close();
  }
});

import { execFile } from 'node:child_process';
import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, afterEach, beforeAll, expect, test } from '@jest/globals';
import type { Browser, Page } from 'playwright-core';
import { launchChromium, newContext } from '../support/chromium.js';
import { type GatewayProcess, ROOT, startGateway, stopAll } from '../support/gateway-process.js';
import { installClient } from '../support/packed-client.js';
import { serveFiles, type StaticServer } from '../support/static-server.js';

/** The address in the examples that users replace by their own. */
const ADDRESS = 'http://127.0.0.1:3000';

let directory: string;
let browser: Browser;
let server: StaticServer;
let gateway: GatewayProcess;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'tallycast-examples-'));
  // The policy of docs/client.md, which allows nothing more.
  server = await serveFiles(directory, () => ({
    'Content-Security-Policy': `default-src 'self'; script-src 'self' ${gateway.url}; connect-src ${gateway.url} ws://127.0.0.1:${gateway.port}`,
  }));
  gateway = await startGateway({ ALLOWED_ORIGINS: server.url });
  browser = await launchChromium();
  await cp(join(ROOT, 'client', 'examples'), directory, { recursive: true });
});

afterEach(async () => {
  for (const context of browser.contexts()) await context.close();
});

afterAll(async () => {
  await browser.close();
  await stopAll();
  await server.close();
  await rm(directory, { recursive: true, force: true });
});

/** Opens the page for two people, and collects the warnings and errors of their consoles. */
async function openTwice(path: string): Promise<{ ann: Page; bob: Page; complaints: string[] }> {
  const complaints: string[] = [];
  const open = async (): Promise<Page> => {
    const page = await (await newContext(browser)).newPage();
    page.on('console', (message) => {
      if (['error', 'warning'].includes(message.type())) complaints.push(message.text());
    });
    page.on('pageerror', (error) => complaints.push(error.message));
    await page.goto(`${server.url}${path}`);
    return page;
  };
  return { ann: await open(), bob: await open(), complaints };
}

async function putInAddress(file: string): Promise<void> {
  const text = await readFile(join(directory, file), 'utf8');
  expect(text).toContain(ADDRESS);
  await writeFile(join(directory, file), text.replaceAll(ADDRESS, gateway.url));
}

test('plain.html works from another server with its own content security policy', async () => {
  await putInAddress('plain.html');
  const { ann, bob, complaints } = await openTwice('/plain.html');
  const both = (selector: string): Promise<unknown> =>
    Promise.all([ann, bob].map((page) => page.locator(selector).waitFor()));
  await both('live-count[metric=views][data-count="2"]');
  await both('live-viewers[data-count="2"]');
  await both('live-like[data-count="0"]');
  await ann.getByRole('button', { name: 'Like' }).click();
  await both('live-like[data-count="1"]');
  await ann.getByRole('button', { pressed: true }).waitFor();
  await bob.getByRole('button', { pressed: false }).waitFor();
  expect(complaints).toEqual([]);
});

test('the React application works when it is built against the packed package', async () => {
  const application = join(directory, 'react');
  await installClient(application);
  await putInAddress('react/main.tsx');
  const vite = join(ROOT, 'node_modules', 'vite', 'bin', 'vite.js');
  const args = [vite, 'build', application, '--base', './', '--logLevel', 'warn'];
  await promisify(execFile)(process.execPath, args, { env: { ...process.env, NODE_ENV: 'production' } });
  const { ann, bob, complaints } = await openTwice('/react/dist/');
  const both = (text: string): Promise<unknown> =>
    Promise.all([ann, bob].map((page) => page.getByText(text, { exact: true }).waitFor()));
  await both('Read 2 times, 2 reading now.');
  await ann.getByRole('button', { name: 'Like 0' }).click();
  await ann.getByRole('button', { name: 'Liked 1', pressed: true }).waitFor();
  await bob.getByRole('button', { name: 'Like 1', pressed: false }).waitFor();
  expect(complaints).toEqual([]);
});

import { execFile } from 'node:child_process';
import { copyFile, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import type { Browser, Page } from 'playwright-core';
import type { ReactPageControls } from '../../client/test/react-page-controls.js';
import { launchChromium, newContext } from '../support/chromium.js';
import { type GatewayProcess, ROOT, startGateway, stopAll } from '../support/gateway-process.js';
import { installClient } from '../support/packed-client.js';
import { serveFiles, type StaticServer } from '../support/static-server.js';
import { until } from '../support/until.js';

/** Exists in the page. */
declare const page: ReactPageControls;

let directory: string;
let browser: Browser;
let server: StaticServer;
let gateway: GatewayProcess;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'tallycast-react-'));
  await installClient(directory);
  await copyFile(join(ROOT, 'client', 'test', 'react-page.tsx'), join(directory, 'react-page.tsx'));
  await writeFile(
    join(directory, 'index.html'),
    '<!doctype html><ul id="root"></ul><script type="module" src="/react-page.tsx"></script>',
  );
  const vite = join(ROOT, 'node_modules', 'vite', 'bin', 'vite.js');
  // Only React's development build has its checks and the double mount of StrictMode.
  const args = [vite, 'build', directory, '--mode', 'development', '--logLevel', 'warn'];
  await promisify(execFile)(process.execPath, args, { env: { ...process.env, NODE_ENV: 'development' } });
  server = await serveFiles(join(directory, 'dist'));
  const METRICS = 'likes:toggle,views:tally,yes:choice@vote,no:choice@vote';
  gateway = await startGateway({ ALLOWED_ORIGINS: server.url, METRICS });
  browser = await launchChromium();
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

/** Opens a person's window on another origin than the gateway's, and collects the page's warnings and errors. */
async function openWindow(): Promise<{ window: Page; complaints: string[] }> {
  const window = await (await newContext(browser)).newPage();
  const complaints: string[] = [];
  window.on('console', (message) => {
    if (['error', 'warning'].includes(message.type())) complaints.push(message.text());
  });
  window.on('pageerror', (error) => complaints.push(error.message));
  await window.goto(`${server.url}/?gateway=${gateway.url}`);
  await window.waitForFunction(() => 'page' in globalThis);
  return { window, complaints };
}

async function openMounted(posts: readonly string[]): Promise<Page> {
  const { window } = await openWindow();
  await window.evaluate((posts) => page.mount(posts), posts);
  return window;
}

function untilShown(window: Page, post: string, what: 'likes' | 'views' | 'live', count: number): Promise<void> {
  return window.locator(`[data-post="${post}"][data-${what}="${count}"]`).first().waitFor();
}

/** Likes the post as another actor. */
async function likeAs(actor: string, post: string): Promise<void> {
  const headers = { 'Actor-Id': actor, 'Content-Type': 'application/json' };
  const url = `${gateway.url}/v1/${post}/likes`;
  const { status } = await fetch(url, { method: 'PUT', headers, body: '{"action":"increment"}' });
  expect(status).toBe(200);
}

async function readCounts(post: string): Promise<{ views: number; live: number }> {
  const response = await fetch(`${gateway.url}/v1/counts?posts=${post}`);
  return ((await response.json()) as { counts: { views: number; live: number }[] }).counts[0]!;
}

describe('useLiveCounts', () => {
  test('a like shows in both windows, is pressed in one, and disappears when it is toggled back', async () => {
    const [ann, bob] = [await openMounted(['shared']), await openMounted(['shared'])];
    await Promise.all([ann, bob].map((window) => untilShown(window, 'shared', 'likes', 0)));
    await ann.getByRole('button').click();
    await Promise.all([ann, bob].map((window) => untilShown(window, 'shared', 'likes', 1)));
    await ann.getByRole('button', { pressed: true }).waitFor();
    await bob.getByRole('button', { pressed: false }).waitFor();
    await ann.getByRole('button').click();
    await Promise.all([ann, bob].map((window) => untilShown(window, 'shared', 'likes', 0)));
  });

  test('useLiveCounts watches once although StrictMode mounts twice, and not at all after unmounting', async () => {
    const window = await openMounted(['strict', 'strict']);
    await untilShown(window, 'strict', 'live', 1);
    expect(await window.evaluate(() => page.mounts())).toBe(2);
    await window.evaluate(() => page.unmount());
    const isLeft = async (): Promise<boolean> => (await readCounts('strict')).live === 0;
    await until(isLeft, 'the gateway counts no viewer');
  });

  test('a component renders again when its own post changes, and not when another does', async () => {
    const window = await openMounted(['idle', 'busy']);
    await untilShown(window, 'idle', 'live', 1);
    await untilShown(window, 'busy', 'live', 1);
    const renders = (post: string): Promise<number> =>
      window.evaluate((post) => page.rendered.filter((each) => each.startsWith(post)).length, post);
    const before = [await renders('idle'), await renders('busy')];
    for (const [i, actor] of ['ann', 'bob', 'cy'].entries()) {
      await likeAs(actor, 'busy');
      await untilShown(window, 'busy', 'likes', i + 1);
    }
    expect(await renders('idle')).toBe(before[0]);
    expect(await renders('busy')).toBeGreaterThan(before[1]!);
  });

  test('useLiveCounts returns the same functions at every render', async () => {
    const window = await openMounted(['stable']);
    await untilShown(window, 'stable', 'likes', 0);
    const before = await window.evaluate(() => page.functions('stable'));
    await likeAs('ann', 'stable');
    await untilShown(window, 'stable', 'likes', 1);
    expect(await window.evaluate(() => page.functions('stable'))).toBe(before);
  });

  test('a component with another post never shows the counts of the previous one', async () => {
    for (const actor of ['ann', 'bob', 'cy']) await likeAs(actor, 'first');
    const window = await openMounted(['first']);
    await untilShown(window, 'first', 'likes', 3);
    await window.evaluate(() => page.show(['second']));
    await untilShown(window, 'second', 'likes', 0);
    const renders = await window.evaluate(() => page.rendered);
    expect(renders.filter((each) => each.startsWith('second'))).not.toContain('second:3');
    expect(renders).toContain('second:undefined');
  });

  test('the hooks and tags of a server-rendered page hydrate without warnings of React', async () => {
    const { window, complaints } = await openWindow();
    const posts = ['viewed-on-server', 'second', 'tagged'];
    const untilWatched = (count: number): Promise<void> =>
      until(async () => (await window.evaluate(() => page.watched())) === count, `the page watches ${count} posts`);
    // Without time no number arrives: a tag with a number has an attribute of which React complains.
    await window.clock.install();
    await window.clock.pauseAt(Date.now() + 5_000);
    await window.evaluate((posts) => page.renderOnServer(posts), posts);
    await untilWatched(1);
    await window.evaluate((posts) => page.hydrate(posts), posts);
    await untilWatched(3);
    await window.clock.resume();
    await window.locator('live-count[data-count="0"]').waitFor();
    await untilShown(window, 'viewed-on-server', 'views', 1);
    await untilShown(window, 'second', 'likes', 0);
    expect(await window.evaluate(() => page.mismatches)).toEqual([]);
    expect(complaints).toEqual([]);
  });
});

test('useChoice shows the options with their numbers and the choice, which can be changed and taken back', async () => {
  const window = await openMounted(['poll']);
  await window.getByRole('button', { name: 'yes 0', pressed: false }).click();
  await window.locator('[data-chosen=yes]').getByRole('button', { name: 'yes 1', pressed: true }).waitFor();
  await window.getByRole('button', { name: 'no 0' }).click();
  await window.locator('[data-chosen=no]').getByRole('button', { name: 'yes 0', pressed: false }).waitFor();
  await window.getByRole('button', { name: 'no 1', pressed: true }).click();
  await window.locator('li:not([data-chosen])').getByRole('button', { name: 'no 0', pressed: false }).waitFor();
});

test('useView counts one view although StrictMode and the page mount it again, and one for each further post', async () => {
  const window = await openMounted(['viewed']);
  await untilShown(window, 'viewed', 'views', 1);
  await window.evaluate(() => page.unmount());
  await window.evaluate(() => page.mount(['viewed', 'viewed-next']));
  await untilShown(window, 'viewed-next', 'views', 1);
  // A client's operations are counted in order, so a second view of the first post would be counted by now.
  expect((await readCounts('viewed')).views).toBe(1);
});

test('useView counts when the element with its ref has come into view', async () => {
  const window = await openMounted(['below', 'viewed-above']);
  await untilShown(window, 'viewed-above', 'views', 1);
  expect((await readCounts('below')).views).toBe(0);
  await window.locator('#below').scrollIntoViewIfNeeded();
  await untilShown(window, 'below', 'views', 1);
});

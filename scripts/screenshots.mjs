// Takes screenshots of the demo's pages for docs/pictures/, from the built gateway with generated traffic.
// npm run screenshots (after npm run build); `npm run screenshots -- png` for another format than webp.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as pause } from 'node:timers/promises';
import { chromium } from 'playwright-core';
import { io } from 'socket.io-client';

const ROOT = join(import.meta.dirname, '..');
const PICTURES = join(ROOT, 'docs', 'pictures');
const FORMAT = process.argv[2] ?? 'webp';
const QUALITY = 72;
/** Time until all numbers are shown and animations have ended. */
const SETTLE_MS = 1_200;
/** Time for the simulated readers of the first page to make its number grow. */
const READ_MS = 40_000;
const READER = 'Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/150.0.0.0 Safari/537.36';

const SIZES = [
  { name: 'desktop', viewport: { width: 1280, height: 800 }, deviceScaleFactor: 1 },
  { name: 'phone', viewport: { width: 390, height: 844 }, deviceScaleFactor: 2, isMobile: true, hasTouch: true },
];
const STORIES = Array.from({ length: 24 }, (_, i) => `story-${i + 1}`);

const dataDir = await mkdtemp(join(tmpdir(), 'screenshots-'));
const { gateway, url } = await startGateway();
const drill = await startDrill();
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM_BIN ?? '/usr/bin/chromium',
  args: [
    ...['--headless', '--no-sandbox', '--disable-gpu', '--hide-scrollbars'],
    // The counts on the pictures include this reader, whom gateways would take for a bot.
    '--disable-blink-features=AutomationControlled',
    `--user-agent=${READER}`,
  ],
});
try {
  await mkdir(PICTURES, { recursive: true });
  const readers = await populate();
  for (const size of SIZES) {
    await take(size, 'first', `${url}/`, unplugBob);
    await take(size, 'article', `${url}/article/`, likeIt);
    await take(size, 'feed', `${url}/feed/`, scrollAWay);
    await take(size, 'cable', `${url}/cable/`, pullBoth);
    await take(size, 'raffle', `${url}/raffle/`, drawWinner);
    await take(size, 'wall', `${url}/wall/`, sendReaders);
    await take(size, 'regions', `${drill.page}&post=${size.name}`, cutOff);
  }
  for (const reader of readers) reader.close();
} finally {
  await browser.close();
  for (const child of [gateway, drill.process]) {
    child.kill('SIGTERM');
    await once(child, 'close');
  }
  await rm(dataDir, { recursive: true });
}

async function startGateway() {
  const { PATH = '', HOME = '' } = process.env;
  const child = spawn(process.execPath, [join(ROOT, 'dist', 'main.js')], {
    env: { PATH, HOME, HOST: '127.0.0.1', PORT: '0', DATA_DIR: dataDir },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  for await (const line of createInterface({ input: child.stdout })) {
    const { msg, url } = JSON.parse(line);
    if (msg === 'listening') return { gateway: child, url };
  }
  throw new Error('the gateway ended before it listened: is it built?');
}

/** Starts the drill with three regions and the page of their cables. */
async function startDrill() {
  const child = spawn(process.execPath, [join(ROOT, 'dist', 'drill', 'main.js'), '--page'], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  for await (const line of createInterface({ input: child.stdout })) {
    const [page] = /http\S+\/regions\/\S+/.exec(line) ?? [];
    if (page !== undefined) return { process: child, page };
  }
  throw new Error('the drill ended before it had a page: is it built?');
}

/** Adds likes and views like those of a real site, and some viewers. */
async function populate() {
  const writer = io(url, { transports: ['websocket'] });
  const posts = ['welcome', ...STORIES];
  for (const [i, post] of posts.entries()) {
    const views = Math.round(48_000 / (i + 1.7) ** 0.9 + ((i * 7919) % 613));
    for (let left = views; left > 0; left -= 1_000) {
      await writer.emitWithAck('add', { post, metric: 'views', by: Math.min(left, 1_000) });
      await pause(20);
    }
    for (let n = 0; n < views / 150; n++) await likeAs(`friend-${n}`, post);
  }
  writer.close();
  return Array.from({ length: 9 }, (_, i) => {
    const reader = io(url, { transports: ['websocket'] });
    reader.emit('subscribe', { posts: ['welcome', ...STORIES.filter((_, n) => (n * 5 + i * 3) % 7 < 4)] });
    return reader;
  });
}

async function likeAs(actor, post) {
  await globalThis.fetch(`${url}/v1/${post}/likes`, {
    method: 'PUT',
    headers: { 'Content-Type': 'application/json', 'Actor-Id': actor },
    body: '{"action":"increment"}',
  });
}

async function take({ name, ...options }, pageName, address, prepare) {
  const context = await browser.newContext({ ...options, colorScheme: 'light' });
  const page = await context.newPage();
  await page.goto(address);
  await page.locator('[data-testid=state][data-state=synced]').waitFor();
  await prepare(page);
  const devtools = await context.newCDPSession(page);
  for (const colorScheme of ['light', 'dark']) {
    await page.emulateMedia({ colorScheme });
    await pause(SETTLE_MS);
    const quality = FORMAT === 'png' ? {} : { quality: QUALITY };
    const { data } = await devtools.send('Page.captureScreenshot', { format: FORMAT, ...quality });
    const file = `${pageName}-${name}-${colorScheme}.${FORMAT}`;
    await writeFile(join(PICTURES, file), data, 'base64');
    console.log(file, Math.round((data.length * 3) / 4 / 1_000), 'kB');
  }
  await context.close();
}

async function unplugBob(page) {
  await pause(READ_MS);
  await page.getByTestId('like').click();
  await page.locator('[data-testid=latency][data-shown-ms]').waitFor();
  await page.getByTestId('pull-bob').click();
  await page.getByTestId('like-bob').click();
  await page.locator('[data-testid=waiting-bob][data-value="1"]').waitFor();
  await page.mouse.move(0, 0);
  await page.evaluate('scrollTo(0, 0)');
}

async function likeIt(page) {
  await page.locator('live-like').click();
}

async function scrollAWay(page) {
  await page.locator('live-like').nth(1).click();
}

async function pullBoth(page) {
  for (let n = 0; n < 14; n++) await page.getByTestId(n % 3 ? 'view-ann' : 'view-bob').click();
  await page.getByTestId('like-bob').click();
  await page.locator('[data-testid=waiting-ann][data-value="0"]').waitFor();
  await page.getByTestId('pull-ann').click();
  await page.getByTestId('like-ann').click();
  for (let n = 0; n < 3; n++) await page.getByTestId('view-ann').click();
  await page.mouse.move(0, 0);
}

async function cutOff(page) {
  const count = async (region, views) => {
    await page.getByTestId(`like-${region}`).click();
    for (let n = 0; n < views; n++) await page.getByTestId(`view-${region}`).click();
  };
  const cables = ['cable-eu-us', 'cable-eu-ap'].map((name) => page.getByTestId(name));
  for (const cable of cables) {
    // The screenshot of the previous size left the cables pulled.
    if ((await cable.getAttribute('aria-pressed')) === 'true') await cable.click();
  }
  await page.getByText('All three agree').waitFor();
  await count('us', 4);
  await page.locator('[data-testid=views-ap][data-count="4"]').waitFor();
  for (const cable of cables) await cable.click();
  await page.getByText('eu is cut off').waitFor();
  await count('eu', 5);
  await count('ap', 2);
  await page.locator('[data-testid=views-us][data-count="6"]').waitFor();
  await page.mouse.move(0, 0);
}

async function drawWinner(page) {
  await page.waitForURL(/post=/);
  await page.getByTestId('crowd').click();
  await page.locator('tr[data-won]').waitFor();
  await page.mouse.move(0, 0);
}

async function sendReaders(page) {
  await page.getByTestId('burst-20').click();
  await pause(11_000);
  for (let n = 0; n < 2; n++) await page.getByTestId('burst-20').click();
  await pause(5_000);
  await page.mouse.move(0, 0);
}

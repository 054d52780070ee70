import { type Browser, type BrowserContext, type BrowserContextOptions, chromium } from 'playwright-core';
import { freePort } from './free-port.js';
import { LIMIT_MS } from './until.js';

/**
 * This list takes the place of Playwright's own, so what of that is needed here is in it. The first one is a process that
 * waits for the next page: half of those that the tests would start.
 */
const NOT_WANTED = [
  'SpareRendererForSitePerProcess',
  'DestroyProfileOnBrowserClose',
  'HttpsFirstBalancedModeAutoEnable',
  'HttpsUpgrades',
  'MediaRouter',
  'NetworkTimeServiceQuerying',
  'OptimizationHints',
  'PaintHolding',
  'PreconnectToSearch',
  'ThirdPartyStoragePartitioning',
];

const ARGS = [
  '--headless',
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  `--disable-features=${NOT_WANTED.join(',')}`,
];

/** A real Chromium without a window: the one that CHROMIUM_BIN names, else Debian's. Close it in `afterAll`. */
export async function launchChromium(args: readonly string[] = []): Promise<Browser> {
  const executablePath = process.env['CHROMIUM_BIN'] ?? '/usr/bin/chromium';
  try {
    return await chromium.launch({ executablePath, args: [...ARGS, ...args], timeout: LIMIT_MS });
  } catch (error) {
    const message = `${executablePath} does not start: apt-get install chromium, or set CHROMIUM_BIN to one`;
    throw new Error(message, { cause: error });
  }
}

/** A window with a storage of its own. What it waits for it awaits as long as `until` does. */
export async function newContext(browser: Browser, options: BrowserContextOptions = {}): Promise<BrowserContext> {
  const context = await browser.newContext(options);
  context.setDefaultTimeout(LIMIT_MS);
  return context;
}

/** Tabs of one window. */
export interface Tabs {
  readonly context: BrowserContext;
  close(): Promise<void>;
}

/**
 * A Chromium whose tabs hide each other, as they do for people: `bringToFront` shows one and hides the others. Playwright
 * has every page believe that it is in front, except where it joins a browser that runs already.
 */
export async function launchTabs(): Promise<Tabs> {
  const port = await freePort();
  const browser = await launchChromium([`--remote-debugging-port=${port}`]);
  const joined = await chromium.connectOverCDP(`http://127.0.0.1:${port}`, { noDefaults: true, timeout: LIMIT_MS });
  const context = joined.contexts()[0]!;
  context.setDefaultTimeout(LIMIT_MS);
  return {
    context,
    async close() {
      await joined.close();
      await browser.close();
    },
  };
}

import { type Browser, type BrowserContext, type BrowserContextOptions, chromium } from 'playwright-core';
import { freePort } from './free-port.js';
import { LIMIT_MS } from './until.js';

/**
 * This list replaces Playwright's own, so it includes the entries of that list that are needed here. The first entry is a
 * spare process for the next page: half of all processes that the tests would start.
 */
const DISABLED_FEATURES = [
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
  `--disable-features=${DISABLED_FEATURES.join(',')}`,
];

/** Gateways count the views of people alone, and tests stand for people: without these Chromium says that a program drives it. */
export const DRIVEN_BY_A_PERSON = [
  '--disable-blink-features=AutomationControlled',
  '--user-agent=Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/150.0.0.0 Safari/537.36',
] as const;

export const CHROMIUM = process.env['CHROMIUM_BIN'] ?? '/usr/bin/chromium';

/** Starts a headless Chromium: the one in CHROMIUM_BIN, else Debian's. Close it in `afterAll`. */
export function launchChromium(args: readonly string[] = []): Promise<Browser> {
  return launchAutomated([...DRIVEN_BY_A_PERSON, ...args]);
}

/** Like `launchChromium`, but pages and gateways can see that a program drives it. */
export async function launchAutomated(
  args: readonly string[] = [],
  ignoreDefaultArgs: string[] = [],
): Promise<Browser> {
  try {
    return await chromium.launch({
      executablePath: CHROMIUM,
      args: [...ARGS, ...args],
      ignoreDefaultArgs,
      timeout: LIMIT_MS,
    });
  } catch (error) {
    const message = `${CHROMIUM} does not start: apt-get install chromium, or set CHROMIUM_BIN to one`;
    throw new Error(message, { cause: error });
  }
}

/** Like `launchChromium`, but pages that are left are kept for the way back, as for users. Playwright switches that off. */
export function launchKeepingPages(): Promise<Browser> {
  return launchAutomated(
    [...DRIVEN_BY_A_PERSON, '--enable-features=BackForwardCache'],
    ['--disable-back-forward-cache'],
  );
}

/** A window with its own storage. Its waits have the same deadline as `until`. */
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
 * Starts a Chromium whose tabs hide each other, as for users: `bringToFront` shows one and hides the others. Playwright
 * makes every page believe that it is in front unless it connects to a browser that runs already.
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

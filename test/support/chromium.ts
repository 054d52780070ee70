import { type Browser, type BrowserContext, chromium } from 'playwright-core';
import { freePort } from './free-port.js';

const ARGS = [
  '--headless',
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];

/** A real Chromium without a window: the one that CHROMIUM_BIN names, else Debian's. Close it in `afterAll`. */
export async function launchChromium(args: readonly string[] = []): Promise<Browser> {
  const executablePath = process.env['CHROMIUM_BIN'] ?? '/usr/bin/chromium';
  try {
    return await chromium.launch({ executablePath, args: [...ARGS, ...args] });
  } catch (error) {
    const message = `${executablePath} does not start: apt-get install chromium, or set CHROMIUM_BIN to one`;
    throw new Error(message, { cause: error });
  }
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
  const joined = await chromium.connectOverCDP(`http://127.0.0.1:${port}`, { noDefaults: true });
  return {
    context: joined.contexts()[0]!,
    async close() {
      await joined.close();
      await browser.close();
    },
  };
}

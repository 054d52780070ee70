/* global document, requestAnimationFrame, setInterval, clearInterval */
/**
 * Animation frames of a page of widgets that all change ten times a second, in a real browser: as a feed with some widgets
 * in view, and with all widgets in view, which no real page has.
 */
import { cpus } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { chromium } from 'playwright-core';
import { alternate } from '../harness/alternate.mjs';
import { pinSelf } from '../harness/processes.mjs';
import { check, tableOf } from '../harness/results.mjs';
import { startGateway } from '../harness/servers.mjs';
import { connectActor } from '../watching/candidates.mjs';

export const title = 'frames a second of a page of widgets that change ten times a second';
export const options = { widgets: 2_000, posts: 500 };

const TICK_MS = 100;
const FRAMES_PER_SECOND = 50;
const VIEWPORT = { width: 1280, height: 800 };
/** Warm-up for compilation and the first rolls. */
const WARM_MS = 2_000;
/** Every post gets one view a tick; each step views some of the posts, as real users would. */
const STEP_MS = 10;
const ARGS = ['--headless', '--no-sandbox', '--disable-gpu', '--no-first-run', '--disable-background-networking'];
const COLUMNS = {
  framesPerSecond: 'frames/s',
  p95FrameMs: 'p95 frame, ms',
  longestFrameMs: 'longest',
  changesPerSecond: 'changes/s shown',
  rolling: 'digits rolling',
};
const STYLES = {
  feed: 'p { margin: 8px 0 } live-count { margin-inline-end: 24px }',
  // With `contain`, as docs/widgets.md advises for pages as full as this.
  'all in view': `body { margin: 0; font-size: 10px }
    main { display: grid; grid-template-columns: repeat(16, 1fr) }
    p { margin: 0; line-height: 12px; contain: content }`,
};

export async function run({ rounds, seconds, cores, options: { widgets, posts } }) {
  // The browser may use all cores.
  pinSelf(`0-${cpus().length - 1}`);
  const executablePath = process.env.CHROMIUM_BIN ?? '/usr/bin/chromium';
  const browser = await chromium.launch({ executablePath, args: ARGS });
  try {
    const candidates = Object.keys(STYLES).map((name) => ({
      name,
      measure: () => measurePage(browser, STYLES[name], { widgets, posts, seconds, core: cores.server }),
    }));
    const measured = await alternate(candidates, { rounds, baseline: candidates[0].name });
    const checks = candidates.map(({ name }) => {
      const { median } = measured.figures[name].framesPerSecond;
      return check(`${widgets} widgets, ${name}: frames a second`, median, { atLeast: FRAMES_PER_SECOND });
    });
    const heading = `${widgets} widgets of ${posts} posts`;
    return { tables: [tableOf(heading, measured, COLUMNS)], checks, flags: measured.flags, data: measured };
  } finally {
    await browser.close();
    pinSelf(cores.load);
  }
}

async function measurePage(browser, style, { widgets, posts, seconds, core }) {
  const server = await startGateway({ TICK_MS: String(TICK_MS) }, core);
  const context = await browser.newContext({ viewport: VIEWPORT });
  const actor = await connectActor(server.url);
  let stop = () => undefined;
  try {
    const page = await openPage(context, server.url, style, widgets, posts);
    stop = viewAll(actor, posts);
    await sleep(WARM_MS);
    return await page.evaluate(measureFrames, seconds * 1_000);
  } finally {
    stop();
    actor.close();
    await context.close();
    await server.end();
  }
}

async function openPage(context, url, style, widgets, posts) {
  // Chromium does not treat a page from a route as local, so it needs the permission.
  await context.grantPermissions(['local-network-access']);
  const page = await context.newPage();
  const rows = Array.from({ length: posts }, (_, row) => {
    const tag = `<live-count post="p${row}" metric="views" notation="standard"></live-count>`;
    return `<p>${tag.repeat(Math.round(widgets / posts))}</p>`;
  });
  const script = '<script type="module" src="/client/tallycast.js"></script>';
  const body = `<!doctype html><html lang="en"><style>${style}</style>${script}<main>${rows.join('')}</main></html>`;
  await page.route(`${url}/widgets`, (route) => route.fulfill({ contentType: 'text/html', body }));
  await page.goto(`${url}/widgets`);
  await page.locator('live-count[data-count]').first().waitFor();
  return page;
}

/** @returns a function that stops the views */
function viewAll(actor, posts) {
  const steps = TICK_MS / STEP_MS;
  let done = 0;
  const startMs = performance.now();
  const timer = setInterval(() => {
    const due = Math.floor((performance.now() - startMs) / STEP_MS);
    for (; done < due; done++) {
      for (let post = done % steps; post < posts; post += steps) actor.view(`p${post}`);
    }
  }, STEP_MS);
  return () => clearInterval(timer);
}

/** Runs in the page. */
async function measureFrames(ms) {
  let changes = 0;
  document.addEventListener('live-count-change', () => changes++);
  const times = [];
  let rolling = 0;
  await new Promise((resolve) => {
    const frame = (time) => {
      times.push(time);
      if (time - times[0] < ms) requestAnimationFrame(frame);
      else resolve();
    };
    requestAnimationFrame(frame);
  });
  for (const { shadowRoot } of document.querySelectorAll('live-count')) rolling += shadowRoot.getAnimations().length;
  const durations = times.slice(1).map((time, i) => time - times[i]);
  durations.sort((a, b) => a - b);
  const seconds = (times.at(-1) - times[0]) / 1_000;
  return {
    framesPerSecond: durations.length / seconds,
    p95FrameMs: durations[Math.floor(durations.length * 0.95)],
    longestFrameMs: durations.at(-1),
    changesPerSecond: changes / seconds,
    rolling,
  };
}

/** Time until every viewer of a post shows the last of many views, and until a closed tab leaves the viewers. */
import { setTimeout as sleep } from 'node:timers/promises';
import { io } from 'socket.io-client';
import { alternate } from '../harness/alternate.mjs';
import { needSockets } from '../harness/machine.mjs';
import { check, tableOf } from '../harness/results.mjs';
import { startGateway } from '../harness/servers.mjs';
import { openAudience, openSenders } from '../watching/audience.mjs';

export const title = 'every viewer of a post shows the last of many views within a tick';
export const options = { viewers: 1_000, rate: 2_000 };

const POST = 'stage';
const TICK_MS = 100;
/** Allowance beyond a tick: a commit and one cycle over all viewers. */
const BEYOND_TICK_MS = 50;
const FRAMES_IN_A_SECOND_MAX = 11;
const CLOSED_TAB_MAX_MS = 1_000;
const SENDERS = 20;
const SEND_EVERY_MS = 10;
const COLUMNS = {
  afterMs: 'last viewer, ms',
  framesInASecond: 'frames in a second',
  adrift: 'viewers adrift',
  closedTabMs: 'closed tab, ms',
  starvedMs: "viewers' thread starved, ms",
};

export async function run({ rounds, seconds, cores, options: { viewers, rate }, log }) {
  needSockets(viewers);
  const name = `${viewers} viewers, ${rate} views/s`;
  const measure = () => measureEnd({ viewers, rate, seconds, cores });
  const measured = await alternate([{ name, measure }], { rounds, baseline: name, log });
  const { afterMs, framesInASecond, adrift, closedTabMs } = measured.figures[name];
  return {
    tables: [tableOf('after the last acknowledgement', measured, COLUMNS)],
    checks: [
      check('the last viewer shows the end, ms', afterMs.median, { atMost: TICK_MS + BEYOND_TICK_MS }),
      check('frames that a viewer gets in any second', framesInASecond.max, { atMost: FRAMES_IN_A_SECOND_MAX }),
      check('viewers whose changes do not add up to the totals', adrift.max, { atMost: 0 }),
      check('a closed tab is no viewer any more after, ms', closedTabMs.max, { below: CLOSED_TAB_MAX_MS }),
    ],
    flags: measured.flags,
    data: measured,
  };
}

async function measureEnd({ viewers, rate, seconds, cores }) {
  const server = await startGateway({ TICK_MS: String(TICK_MS) }, cores.server);
  const urls = [server.url];
  const audience = await openAudience({ urls, post: POST, count: viewers, threads: 1 });
  const senders = await openSenders({ urls, post: POST, count: SENDERS });
  try {
    const ended = audience.ended(rate * seconds);
    await send(senders, rate, seconds);
    const endMs = nowMs();
    const [{ shownAtMs, framesInASecond, adrift, starvedMs }] = await ended;
    const closedTabMs = await measureClosedTab(server.url);
    return { afterMs: shownAtMs - endMs, framesInASecond, adrift, closedTabMs, starvedMs };
  } finally {
    senders.close();
    await audience.close();
    await server.end();
  }
}

/** Sends at an even rate, catching up after a late timer. Resolves when the last view is acknowledged. */
async function send(senders, rate, seconds) {
  const answers = [];
  const fromMs = nowMs();
  while (answers.length < rate * seconds) {
    const due = Math.min(rate * seconds, Math.floor(((nowMs() - fromMs) / 1_000) * rate));
    while (answers.length < due) answers.push(senders.view(answers.length));
    await sleep(SEND_EVERY_MS);
  }
  await Promise.all(answers);
}

/** Measures from closing one of two tabs until the other shows one viewer. */
async function measureClosedTab(url) {
  const tabs = [1, 2].map(() => io(url, { transports: ['websocket'], forceNew: true }));
  const shows = (live) =>
    new Promise((resolve) => {
      tabs[0].on('counts', ([update]) => update.live === live && resolve());
    });
  await tabs[0].emitWithAck('subscribe', { posts: ['tabs'] });
  const both = shows(2);
  await tabs[1].emitWithAck('subscribe', { posts: ['tabs'] });
  await both;
  const alone = shows(1);
  const fromMs = nowMs();
  tabs[1].close();
  await alone;
  const tookMs = nowMs() - fromMs;
  tabs[0].close();
  return tookMs;
}

function nowMs() {
  return Number(process.hrtime.bigint()) / 1e6;
}

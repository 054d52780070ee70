/* global fetch */
/** Time until the viewers of a killed gateway show exact counts from another one. */
import { clearInterval, setInterval } from 'node:timers';
import { setTimeout as sleep } from 'node:timers/promises';
import { alternate } from '../harness/alternate.mjs';
import { needSockets } from '../harness/machine.mjs';
import { check, tableOf } from '../harness/results.mjs';
import { startGateway, startRedis } from '../harness/servers.mjs';
import { openAudience, openSenders } from '../watching/audience.mjs';

export const title = 'viewers of a killed gateway show exact counts from another one';
export const options = { viewers: 4_000 };

const POST = 'stage';
const SHOWN_MAX_MS = 5_000;
/** The lease of the killed gateway, and two sweeps. */
const TAKEN_BACK_MAX_MS = 10_000;
const THREADS = 2;
const SENDERS = 4;
const VIEW_EVERY_MS = 200;
const BEFORE_MS = 1_000;
/** The load continues until most viewers have reconnected. */
const AFTER_MS = 2_000;
const POLL_INTERVAL_MS = 20;
const COLUMNS = {
  shownMs: 'all show the end, ms',
  returnedMs: 'all are back, ms',
  takenBackMs: 'counted once, ms',
  failures: 'failed attempts',
  starvedMs: "viewers' threads starved, ms",
};

export async function run({ rounds, cores, options: { viewers }, log }) {
  needSockets(viewers);
  const name = `${viewers} viewers on two gateways`;
  const measured = await alternate([{ name, measure: () => measureFailover(viewers, cores) }], {
    rounds,
    baseline: name,
    log,
  });
  const { shownMs, takenBackMs, lostOnce, lostMore } = measured.figures[name];
  return {
    tables: [tableOf('after one of two gateways was killed', measured, COLUMNS)],
    checks: [
      check('all show the exact count after the kill, ms', shownMs.max, { atMost: SHOWN_MAX_MS }),
      check('as many viewers as before are counted after the kill, ms', takenBackMs.max, { atMost: TAKEN_BACK_MAX_MS }),
      check('viewers that lost their connection once, of half of all', lostOnce.min / (viewers / 2), { atLeast: 1 }),
      check('viewers that lost it more often', lostMore.max, { atMost: 0 }),
    ],
    flags: measured.flags,
    data: measured,
  };
}

async function measureFailover(viewers, cores) {
  const redis = await startRedis(cores.load);
  const [killed, survivor] = await Promise.all([1, 2].map(() => startGateway({ REDIS_URL: redis.url }, cores.server)));
  const urls = [killed.url, survivor.url];
  const audience = await openAudience({ urls, post: POST, count: viewers, threads: THREADS });
  const senders = await openSenders({ urls, post: POST, count: SENDERS });
  try {
    const answers = [];
    const load = setInterval(() => answers.push(senders.view(answers.length)), VIEW_EVERY_MS);
    await sleep(BEFORE_MS);
    const killedAtMs = nowMs();
    const died = killed.end();
    senders.moveTo(survivor.url);
    await sleep(AFTER_MS);
    clearInterval(load);
    await Promise.all([...answers, died]);
    const ended = await audience.ended(answers.length);
    await untilLive(survivor.url, viewers);
    const losses = ended.flatMap((thread) => thread.losses);
    const most = (figure) => Math.max(...ended.map((thread) => thread[figure]));
    return {
      shownMs: most('shownAtMs') - killedAtMs,
      returnedMs: most('returnedAtMs') - killedAtMs,
      takenBackMs: nowMs() - killedAtMs,
      failures: ended.reduce((sum, { failures }) => sum + failures, 0),
      lostOnce: losses.filter((times) => times === 1).length,
      lostMore: losses.filter((times) => times > 1).length,
      starvedMs: most('starvedMs'),
    };
  } finally {
    senders.close();
    await audience.close();
    await Promise.all([survivor.end(), redis.end()]);
  }
}

async function untilLive(url, viewers) {
  for (;;) {
    const { count } = await (await fetch(`${url}/v1/${POST}/live`)).json();
    if (count === viewers) return;
    await sleep(POLL_INTERVAL_MS);
  }
}

function nowMs() {
  return Number(process.hrtime.bigint()) / 1e6;
}

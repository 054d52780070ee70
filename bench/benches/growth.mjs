/**
 * Growth of the cost of watching. The gateway's CPU should grow linearly with the viewers of a post that changes every
 * tick, and not at all with subscriptions to posts that do not change.
 */
import { alternate } from '../harness/alternate.mjs';
import { exponentOf } from '../harness/fit.mjs';
import { needSockets } from '../harness/machine.mjs';
import { linePlot } from '../harness/plot.mjs';
import { check, tableOf } from '../harness/results.mjs';
import { socketIoScript, tallycast } from '../watching/candidates.mjs';
import { measureCandidate } from '../watching/crowd.mjs';
import { POST } from '../watching/payload.mjs';

export const title = 'CPU against viewers, and against subscriptions to silent posts';
export const options = { viewers: [1_000, 2_000, 4_000, 8_000, 16_000], silent: [0, 1, 10, 100], tickMs: 500 };

/** Number of sockets with silent posts, and the tick of the active post. */
const SOCKETS = 1_000;
const SILENT_TICK_MS = 100;
const EXPONENT_MAX = 1.1;
const SILENT_RATIO_MAX = 1.1;
const COLUMNS = { cpuShare: 'CPU, of a core', microsPerFrame: 'CPU µs a frame', framesPerSecond: 'frames/s' };

export async function run({ rounds, seconds, cores, options: { viewers, silent, tickMs } }) {
  needSockets(Math.max(...viewers));
  const byViewers = await alternate(
    viewers.map((sockets) => ({ name: String(sockets), measure: () => cpuOf({ sockets, tickMs, seconds, cores }) })),
    { rounds, baseline: String(viewers[0]) },
  );
  const bySilent = await alternate(
    silent.map((each) => ({ name: String(each * SOCKETS), measure: () => cpuWithSilent(each, { seconds, cores }) })),
    { rounds, baseline: String(silent[0] * SOCKETS) },
  );
  const viewerPoints = pointsOf(byViewers, 'cpuShare');
  const silentPoints = pointsOf(bySilent, 'microsPerFrame');
  const exponent = exponentOf(viewerPoints);
  const silentRatio = bySilent.ratios[String(silent.at(-1) * SOCKETS)].microsPerFrame.median;
  return {
    tables: [
      tableOf(`viewers of a post that changes every ${tickMs} ms`, byViewers, COLUMNS),
      tableOf(`subscriptions to silent posts, beside ${SOCKETS} to one that changes`, bySilent, COLUMNS),
    ],
    checks: [
      check('CPU grows with viewers to the power of', exponent, { atMost: EXPONENT_MAX }),
      check(`${silent.at(-1) * SOCKETS} silent subscriptions / none`, silentRatio, { atMost: SILENT_RATIO_MAX }),
    ],
    flags: [...byViewers.flags, ...bySilent.flags],
    plots: {
      'growth-viewers': viewersPlot(viewerPoints, tickMs, exponent),
      'growth-silent': silentPlot(silentPoints),
    },
    data: { tickMs, exponent, byViewers, bySilent },
  };
}

async function cpuOf(setting, candidate = tallycast) {
  const figures = await measureCandidate(candidate, setting);
  return { cpuShare: figures.serverShare, ...figures };
}

/** Each socket watches one post that changes, and `each` silent posts that no other socket watches. */
function cpuWithSilent(each, { seconds, cores }) {
  const candidate = {
    async start(setting) {
      const running = await tallycast.start(setting);
      const posts = each === 0 ? `"${POST}"` : `"${POST}",%p`;
      return { ...running, watch: [...socketIoScript(posts), '--posts', `${each}/0`] };
    },
  };
  return cpuOf({ sockets: SOCKETS, tickMs: SILENT_TICK_MS, seconds, cores }, candidate);
}

function pointsOf({ figures }, figure) {
  return Object.entries(figures).map(([name, of]) => [Number(name), of[figure].median]);
}

function viewersPlot(points, tickMs, exponent) {
  const [[x0, y0]] = points;
  const line = points.map(([x]) => [x, (y0 * x) / x0]);
  return linePlot({
    title: `CPU against viewers: to the power of ${exponent.toFixed(2)}`,
    x: { label: `viewers of a post that changes every ${tickMs} ms`, log: true },
    y: { label: 'CPU, of a core', log: true },
    series: [
      { name: 'tallycast', points },
      { name: 'in proportion', points: line, dashed: true },
    ],
  });
}

function silentPlot(points) {
  return linePlot({
    title: 'CPU against subscriptions to posts on which nothing happens',
    x: { label: `subscriptions to silent posts, beside ${SOCKETS} to one that changes`, log: false },
    y: { label: 'CPU µs a frame', log: false },
    series: [{ name: 'tallycast', points }],
  });
}

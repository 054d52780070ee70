/**
 * Updates of one post to all its viewers: the server's CPU per delivered frame. Tallycast is compared with a write() loop
 * in C, raw ws, stock socket.io, nchan and NATS. All send frames of the same length at the same tick. Tallycast also
 * counts a view each tick and writes it durably to disk.
 */
import { needSockets } from '../harness/machine.mjs';
import { alternate } from '../harness/alternate.mjs';
import { barPlot } from '../harness/plot.mjs';
import { check, tableOf } from '../harness/results.mjs';
import { everyone } from '../watching/candidates.mjs';
import { measureCandidate } from '../watching/crowd.mjs';

export const title = "one post's updates to all its viewers: the server's CPU per delivered frame";
/** `only`: names of candidates, comma-separated. `tickMs`: one tick for each number of sockets that the slowest can keep. */
export const options = { sockets: [1_000, 10_000], tickMs: [100, 250], only: '' };

const COLUMNS = {
  microsPerFrame: 'CPU µs a frame',
  framesPerSecond: 'frames/s',
  bytesPerFrame: 'bytes',
  serverShare: 'server busy',
  loadShare: 'load busy',
};

export async function run({ rounds, seconds, cores, options: { sockets, tickMs, only } }) {
  const sizes = [sockets].flat();
  const ticks = [tickMs].flat();
  needSockets(Math.max(...sizes));
  const chosen = everyone.filter(({ name }) => only === '' || only.split(',').includes(name));
  const result = { tables: [], checks: [], flags: [], data: {}, plots: {} };
  for (const [i, size] of sizes.entries()) {
    const setting = { sockets: size, tickMs: ticks[Math.min(i, ticks.length - 1)], seconds, cores };
    const candidates = chosen.map((candidate) => ({
      name: candidate.name,
      measure: () => measureCandidate(candidate, setting),
    }));
    const measured = await alternate(candidates, { rounds, baseline: chosen[0].name });
    const heading = `${size.toLocaleString('en')} sockets, a frame each every ${setting.tickMs} ms`;
    result.tables.push(tableOf(heading, measured, COLUMNS));
    result.checks.push(...checksOf(size, measured));
    result.flags.push(...measured.flags);
    result.data[size] = { ...setting, ...measured };
    const bars = chosen.map(({ name }) => ({ name, ...measured.figures[name].microsPerFrame }));
    result.plots[`fanout-${size}`] = barPlot({ title: heading, unit: 'CPU µs a frame', bars });
  }
  return result;
}

/** Tallycast's cost as a share of each other candidate's. Ratios are taken within a round. */
const LIMITS = { ws: { atMost: 1.05 }, 'socket.io': { atMost: 0.72 }, nchan: { below: 1 }, NATS: { below: 1 } };

function checksOf(size, { ratios }) {
  if (ratios.tallycast === undefined) return [];
  return Object.entries(LIMITS).flatMap(([name, target]) => {
    const ratio = ratios[name]?.microsPerFrame.median;
    return ratio === undefined ? [] : [check(`${size} sockets: tallycast / ${name}`, 1 / ratio, target)];
  });
}

/** Measures candidates in a rotating order, A B C, B C A, … so that changes of the machine affect all of them alike. */

/** Above this share of the load's core, the load itself may have been the limit. */
const LOAD_SHARE_MAX = 0.9;
/** Above this share of waiting time, the server shared its core with another process. */
const WAIT_SHARE_MAX = 0.05;

/**
 * Measures every candidate once a round, in an order that rotates.
 *
 * @param candidates `{ name, measure }`: `measure(round)` resolves with figures by name, all numbers. `loadCoreShare` and
 *   `serverWaitShare` are compared with the limits above
 * @param options `rounds`; `baseline`: the name of the candidate that the others are divided by; `log(line)`
 * @returns `{ baseline, rounds, figures, ratios, flags }`: `figures[name][figure]` and `ratios[name][figure]` are
 *   `{ median, min, max }`; a ratio is taken within a round; `rounds[i][name]` are the figures of one measurement
 */
export async function alternate(candidates, { rounds, baseline, log = console.log }) {
  const measured = [];
  const flags = [];
  for (let round = 0; round < rounds; round++) {
    const figuresOf = {};
    for (let i = 0; i < candidates.length; i++) {
      const { name, measure } = candidates[(i + round) % candidates.length];
      const figures = await measure(round);
      figuresOf[name] = figures;
      log(`  round ${round + 1} of ${rounds}  ${name.padEnd(24)} ${inShort(figures)}`);
      flags.push(...flagsOf(figures).map((flag) => `round ${round + 1}, ${name}: ${flag}`));
    }
    measured.push(figuresOf);
  }
  const names = candidates.map(({ name }) => name);
  const figures = summarised(names, measured, (of) => of);
  const ratios = summarised(names, measured, (of, figure, round) => of / round[baseline][figure]);
  return { baseline, rounds: measured, figures, ratios, flags };
}

function flagsOf({ loadCoreShare = 0, serverWaitShare = 0 }) {
  const percent = (share) => `${Math.round(share * 100)} %`;
  const flags = [];
  if (loadCoreShare > LOAD_SHARE_MAX) flags.push(`the load's core was ${percent(loadCoreShare)} busy`);
  if (serverWaitShare > WAIT_SHARE_MAX) {
    flags.push(`other processes had the server's core ${percent(serverWaitShare)} of the time`);
  }
  return flags;
}

function summarised(names, rounds, valueOf) {
  const summary = {};
  for (const name of names) {
    summary[name] = {};
    for (const figure of Object.keys(rounds[0]?.[name] ?? {})) {
      summary[name][figure] = spread(rounds.map((round) => valueOf(round[name][figure], figure, round)));
    }
  }
  return summary;
}

/** @returns median, min and max of the numbers */
export function spread(numbers) {
  const sorted = numbers.filter((number) => Number.isFinite(number)).sort((a, b) => a - b);
  if (sorted.length === 0) return { median: null, min: null, max: null };
  const middle = sorted.length >> 1;
  const median = sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
  return { median, min: sorted[0], max: sorted.at(-1) };
}

/** Formats a figure with three significant digits. */
export function short(value) {
  if (value === null || value === undefined || Number.isNaN(value)) return '-';
  if (!Number.isFinite(value)) return String(value);
  if (Math.abs(value) >= 1000) return Math.round(value).toLocaleString('en');
  return String(Number(value.toPrecision(3)));
}

function inShort(figures) {
  return Object.entries(figures)
    .map(([figure, value]) => `${figure} ${short(value)}`)
    .join('  ');
}

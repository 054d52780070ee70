import type { Load } from './arguments.js';
import type { Quantiles, Row, Summary } from './figures.js';
import { formatMegabytes, formatMilliseconds, formatWhole } from './numbers.js';

/** Interval of lines if stderr is no terminal. */
const PLAIN_INTERVAL_MS = 5_000;

/** The progress line on stderr, overwritten each time. */
export class Progress {
  #plainMs = -Infinity;

  show(line: string): void {
    if (process.stderr.isTTY) {
      process.stderr.write(`\r\x1b[K${line.slice(0, process.stderr.columns - 1)}`);
      return;
    }
    const nowMs = performance.now();
    if (nowMs - this.#plainMs < PLAIN_INTERVAL_MS) return;
    this.#plainMs = nowMs;
    process.stderr.write(`${line}\n`);
  }

  clear(): void {
    if (process.stderr.isTTY) process.stderr.write('\r\x1b[K');
  }
}

export function describeLoad(load: Load): string {
  const { viewers, watch, likes, views, posts, durationS, actors, threads, url, prefix } = load;
  const each = watch === 1 ? '' : ` (each of ${watch})`;
  return (
    `${formatWhole(viewers)} viewers of ${formatWhole(posts)} posts${each}, ${formatWhole(likes)} likes and ${formatWhole(views)} views a second ` +
    `for ${formatWhole(durationS)} s by ${formatWhole(actors)} actors, ${threads} thread${threads === 1 ? '' : 's'}; ${url}, posts ${prefix}-0 …`
  );
}

export function formatRow(row: Row, { rampS, durationS }: Load): string {
  const { second, due, acknowledged, toAnswer, toScreen, frames, bytes, errors } = row;
  const phase = second < rampS ? `ramp ${second + 1}/${rampS} s` : `${second + 1 - rampS}/${durationS} s`;
  return [
    second >= rampS + durationS ? 'the last answers' : phase,
    `offered ${formatWhole(due)}/s`,
    `acknowledged ${formatWhole(acknowledged)}/s`,
    `p50 ${formatMilliseconds(toAnswer.p50)} p99 ${formatMilliseconds(toAnswer.p99)} ms`,
    `on screen p99 ${formatMilliseconds(toScreen.p99)} ms`,
    `${formatWhole(frames)} frames/s`,
    `${formatMegabytes(bytes)}/s`,
    `errors ${formatWhole(errors)}`,
  ].join('  ');
}

export function formatSummary(summary: Summary, cores: number): string[] {
  const { offeredPerS, acknowledgedPerS, framesPerS, bytesPerS, errors, lagMaxMs } = summary;
  const rates =
    offeredPerS === null || acknowledgedPerS === null
      ? `${formatWhole(summary.acknowledged)} in all; no whole second at the full rate`
      : `${formatWhole(acknowledgedPerS)}/s of ${formatWhole(offeredPerS)}/s offered; ${formatWhole(summary.acknowledged)} in all`;
  const frames = `${formatWhole(framesPerS ?? 0)}/s, ${formatMegabytes(bytesPerS ?? 0)}/s; ${formatWhole(summary.frames)} in all`;
  const codes = Object.entries(errors).map(([code, count]) => `${code} ${formatWhole(count)}`);
  return [
    `acknowledged                ${rates}`,
    `to the acknowledgement, ms  ${quantilesText(summary.toAnswer)}`,
    `to the screen, ms           ${quantilesText(summary.toScreen)}`,
    `frames                      ${frames}`,
    `errors                      ${codes.length === 0 ? 'none' : codes.join(', ')}`,
    `this program                ${cores.toFixed(2)} cores, event-loop delay ${formatMilliseconds(lagMaxMs)} ms at most`,
  ];
}

function quantilesText({ samples, p50, p90, p99, p999, max }: Quantiles): string {
  if (samples === 0) return 'no samples';
  const values = Object.entries({ p50, p90, p99, 'p99.9': p999, max });
  return `${values.map(([name, value]) => `${name} ${formatMilliseconds(value)}`).join('  ')}  (${formatWhole(samples)} samples)`;
}

import type { Load } from './arguments.js';
import type { Quantiles, Row, Summary } from './figures.js';
import { megabytes, milliseconds, whole } from './numbers.js';

/** Where it is no terminal, a line is written so often. */
const PLAIN_EVERY_MS = 5_000;

/** One line that is written over and over, on stderr: what goes on now. */
export class Progress {
  #plainMs = -Infinity;

  show(line: string): void {
    if (process.stderr.isTTY) {
      process.stderr.write(`\r\x1b[K${line.slice(0, process.stderr.columns - 1)}`);
      return;
    }
    const nowMs = performance.now();
    if (nowMs - this.#plainMs < PLAIN_EVERY_MS) return;
    this.#plainMs = nowMs;
    process.stderr.write(`${line}\n`);
  }

  clear(): void {
    if (process.stderr.isTTY) process.stderr.write('\r\x1b[K');
  }
}

export function describe(load: Load): string {
  const { viewers, watch, likes, views, posts, durationS, actors, threads, url, prefix } = load;
  const each = watch === 1 ? '' : ` (each of ${watch})`;
  return (
    `${whole(viewers)} viewers of ${whole(posts)} posts${each}, ${whole(likes)} likes and ${whole(views)} views a second ` +
    `for ${whole(durationS)} s by ${whole(actors)} actors, ${threads} thread${threads === 1 ? '' : 's'}; ${url}, posts ${prefix}-0 …`
  );
}

export function rowLine(row: Row, { rampS, durationS }: Load): string {
  const { second, due, acknowledged, toAnswer, toScreen, frames, bytes, errors } = row;
  const phase = second < rampS ? `ramp ${second + 1}/${rampS} s` : `${second + 1 - rampS}/${durationS} s`;
  return [
    second >= rampS + durationS ? 'the last answers' : phase,
    `offered ${whole(due)}/s`,
    `acknowledged ${whole(acknowledged)}/s`,
    `p50 ${milliseconds(toAnswer.p50)} p99 ${milliseconds(toAnswer.p99)} ms`,
    `on screen p99 ${milliseconds(toScreen.p99)} ms`,
    `${whole(frames)} frames/s`,
    `${megabytes(bytes)}/s`,
    `errors ${whole(errors)}`,
  ].join('  ');
}

export function summaryLines(summary: Summary, cores: number): string[] {
  const { offeredPerS, acknowledgedPerS, framesPerS, bytesPerS, errors, lagMaxMs } = summary;
  const rates =
    offeredPerS === null || acknowledgedPerS === null
      ? `${whole(summary.acknowledged)} in all; no whole second at the full rate`
      : `${whole(acknowledgedPerS)}/s of ${whole(offeredPerS)}/s offered; ${whole(summary.acknowledged)} in all`;
  const frames = `${whole(framesPerS ?? 0)}/s, ${megabytes(bytesPerS ?? 0)}/s; ${whole(summary.frames)} in all`;
  const codes = Object.entries(errors).map(([code, count]) => `${code} ${whole(count)}`);
  return [
    `acknowledged                ${rates}`,
    `to the acknowledgement, ms  ${quantilesText(summary.toAnswer)}`,
    `to the screen, ms           ${quantilesText(summary.toScreen)}`,
    `frames                      ${frames}`,
    `errors                      ${codes.length === 0 ? 'none' : codes.join(', ')}`,
    `this program                ${cores.toFixed(2)} cores, kept from its sockets for ${milliseconds(lagMaxMs)} ms at most`,
  ];
}

function quantilesText({ samples, p50, p90, p99, p999, max }: Quantiles): string {
  if (samples === 0) return 'no samples';
  const values = Object.entries({ p50, p90, p99, 'p99.9': p999, max });
  return `${values.map(([name, value]) => `${name} ${milliseconds(value)}`).join('  ')}  (${whole(samples)} samples)`;
}

import type { Distribution, Quantiles, Row } from './figures.js';
import { formatMegabytes, formatMilliseconds, formatShort, formatWhole } from './numbers.js';
import { escapeHtml, renderLineChart, type Tick } from './plot.js';
import type { Result } from './run.js';

const TICKS_MAX = 10;
const STYLE = `
:root { color-scheme: light dark; --ink: #1a1a1a; --faint: #0002; --a: #1769aa; --b: #d9730d; --c: #b3261e; --d: #5b7f24; }
@media (prefers-color-scheme: dark) { :root { --ink: #eee; --faint: #fff3; --a: #6cb6ff; --b: #ffb04d; --c: #ff8a80; --d: #a5d46a; } }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 46rem; margin: 2rem auto; padding: 0 1rem; color: var(--ink); }
h1 { font-size: 1.4rem; } .exact { color: var(--d); } .wrong { color: var(--c); }
svg { width: 100%; height: auto; margin: .5rem 0 1rem; }
svg text { font: 12px system-ui, sans-serif; fill: var(--ink); } svg .title { font-weight: 600; }
svg path { fill: none; stroke-width: 1.8; } .grid { stroke: var(--faint); } .shade { fill: var(--faint); }
.s0 { stroke: var(--a); } .s1 { stroke: var(--b); } .s2 { stroke: var(--c); } .s3 { stroke: var(--d); }
table { border-collapse: collapse; margin: 1rem 0; } td, th { padding: .15rem .8rem .15rem 0; text-align: right; }
td:first-child, th:first-child { text-align: left; } pre { white-space: pre-wrap; }
`;

/** Renders the result as one page without further files. */
export function renderReport(result: Result): string {
  const { verdict, startedAt, load } = result;
  const [first, ...others] = verdict.lines;
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escapeHtml(first!)}</title>
<style>${STYLE}</style>
</head>
<body>
<h1 class="${verdict.isExact ? 'exact' : 'wrong'}">${escapeHtml(first!)}</h1>
<pre>${escapeHtml(others.join('\n'))}</pre>
<p>${escapeHtml(load.url)}, ${escapeHtml(startedAt)}</p>
${figuresTable(result)}
${latencyTable(result)}
${charts(result).join('\n')}
<h2>The load</h2>
<table>${Object.entries(load)
    .filter(([, value]) => value !== null)
    .map(([name, value]) => row([name, String(value)]))
    .join('')}</table>
</body>
</html>
`;
}

function figuresTable({ summary, cores }: Result): string {
  const perS = (value: number | null, text: (value: number) => string): string =>
    value === null ? 'no whole second' : `${text(value)}/s`;
  const rows: [string, string][] = [
    ['operations offered', perS(summary.offeredPerS, formatWhole)],
    ['operations acknowledged', perS(summary.acknowledgedPerS, formatWhole)],
    ['frames to all viewers', perS(summary.framesPerS, formatWhole)],
    ['bytes to all connections', perS(summary.bytesPerS, formatMegabytes)],
    ['operations acknowledged in all', formatWhole(summary.acknowledged)],
    ['frames in all', formatWhole(summary.frames)],
    ...Object.entries(summary.errors).map(([code, count]): [string, string] => [`error ${code}`, formatWhole(count)]),
    [
      'this program',
      `${formatShort(cores)} cores, event-loop delay ${formatMilliseconds(summary.lagMaxMs)} ms at most`,
    ],
  ];
  return `<table>${rows.map(row).join('')}</table>`;
}

function latencyTable({ summary }: Result): string {
  const names = ['p50', 'p90', 'p99', 'p999', 'max', 'samples'] as const;
  const head = `<tr><th>latency, ms</th>${names.map((name) => `<th>${name.replace('p999', 'p99.9')}</th>`).join('')}</tr>`;
  const cells = (quantiles: Quantiles): string[] => names.map((name) => formatMilliseconds(quantiles[name]));
  return `<table>${head}${row(['operation to acknowledgement', ...cells(summary.toAnswer)])}${row([
    'operation to screen',
    ...cells(summary.toScreen),
  ])}</table>
<p>Both start when the operation was due, even if it was sent later.</p>`;
}

function charts({ seconds, summary, load }: Result): string[] {
  const overTime = (
    title: string,
    unit: string,
    lines: Record<string, (row: Row) => number | null>,
    isLog = false,
  ): string =>
    renderLineChart({
      title,
      unit,
      isLog,
      series: Object.entries(lines).map(([name, value]) => ({
        name,
        points: seconds.map((one) => [one.second, value(one)] as const),
      })),
      xTicks: secondTicks(seconds.length),
      xLabel: 'seconds',
      ...(load.rampS > 0 && seconds.length > load.rampS && { shade: { from: 0, to: load.rampS, label: 'ramp' } }),
    });
  const latency = (title: string, name: 'toAnswer' | 'toScreen'): string =>
    overTime(
      title,
      'ms',
      { p50: (one) => one[name].p50, p99: (one) => one[name].p99, max: (one) => one[name].max },
      true,
    );
  return [
    overTime('Operations a second', '1/s', {
      offered: ({ due }) => due,
      acknowledged: ({ acknowledged }) => acknowledged,
    }),
    latency('Operation to acknowledgement', 'toAnswer'),
    latency('Operation to screen', 'toScreen'),
    renderLineChart({
      title: 'Latency by share of the operations',
      unit: 'ms',
      isLog: true,
      series: [
        { name: 'to acknowledgement', points: pointsByNines(summary.toAnswer) },
        { name: 'to screen', points: pointsByNines(summary.toScreen) },
      ],
      xTicks: [0, 50, 90, 99, 99.9, 99.99, 99.999].map((percent) => ({ at: nines(percent), label: `${percent}%` })),
      xLabel: 'of the operations took at most this long',
    }),
    overTime('Frames a second', '1/s', { frames: ({ frames }) => frames }),
    overTime('Received', 'MB/s', { received: ({ bytes }) => bytes / 1e6 }),
    overTime('Errors and delays of this program', '1/s, ms', {
      errors: ({ errors }) => errors,
      'delay, ms': ({ lagMs }) => lagMs,
    }),
  ];
}

/** @returns 1 for 90%, 2 for 99%, 3 for 99.9% */
function nines(percent: number): number {
  return -Math.log10(1 - percent / 100);
}

function pointsByNines({ curve }: Distribution): [number, number][] {
  return curve.filter(([percent]) => percent < 100).map(([percent, ms]) => [nines(percent), ms]);
}

function secondTicks(count: number): Tick[] {
  const every = Math.max(1, Math.ceil(count / TICKS_MAX));
  return Array.from({ length: Math.ceil(count / every) }, (_, i) => ({ at: i * every, label: String(i * every) }));
}

function row(cells: readonly string[]): string {
  return `<tr>${cells.map((cell) => `<td>${escapeHtml(cell)}</td>`).join('')}</tr>`;
}

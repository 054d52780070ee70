/** Line charts as inline SVG without scripts or other hosts. The page's style sets the colours (`.s0`, `.s1`, …). */

interface Series {
  readonly name: string;
  /** A point with y null interrupts the line. */
  readonly points: readonly (readonly [x: number, y: number | null])[];
}

export interface Tick {
  readonly at: number;
  readonly label: string;
}

export interface Chart {
  readonly title: string;
  readonly unit: string;
  readonly series: readonly Series[];
  /** Ticks beyond the points are left out. */
  readonly xTicks: readonly Tick[];
  readonly xLabel: string;
  /** A shaded range of the x axis. */
  readonly shade?: { readonly from: number; readonly to: number; readonly label: string };
  /** Makes the y axis logarithmic, which has no 0. */
  readonly isLog?: boolean;
}

const WIDTH = 720;
const HEIGHT = 260;
const LEFT = 64;
const RIGHT = 16;
const TOP = 48;
const BOTTOM = 40;
const TICKS_ABOUT = 5;

export function renderLineChart(chart: Chart): string {
  const { title, unit, series, xTicks, xLabel, shade, isLog = false } = chart;
  const points = series.flatMap((one) => one.points);
  const xs = points.map(([x]) => x);
  const ys = points.map(([, y]) => y).filter((y) => y !== null && (!isLog || y > 0)) as number[];
  const yTicks = isLog ? logTicks(minOr(ys, 1), maxOr(ys, 10)) : linearTicks(maxOr(ys, 1));
  const [left, right] = [minOr(xs, 0), maxOr(xs, 1)];
  const x = makeScale(left, right, LEFT, WIDTH - RIGHT);
  const onY = isLog ? Math.log10 : (value: number) => value;
  const y = makeScale(onY(yTicks[0]!), onY(yTicks.at(-1)!), HEIGHT - BOTTOM, TOP);
  const elements = [
    `<text class="title" x="${LEFT}" y="16">${escapeHtml(title)}, ${escapeHtml(unit)}</text>`,
    ...legend(series),
    ...(shade === undefined ? [] : shadeElements(x(shade.from), x(shade.to), shade.label)),
    ...yTicks.flatMap((value) => yTickElements(y(onY(value)), tickLabel(value))),
    ...xTicks
      .filter(({ at }) => at >= left && at <= right)
      .map(({ at, label }) => textAt(x(at), HEIGHT - BOTTOM + 16, 'middle', label)),
    textAt(WIDTH - RIGHT, HEIGHT - 6, 'end', xLabel),
    ...series.map((one, i) => {
      const line = makePath(
        one,
        (px) => x(px),
        (py) => y(onY(py)),
        isLog,
      );
      return `<path class="s${i}" d="${line}"/>`;
    }),
  ];
  return `<svg viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img" aria-label="${escapeHtml(title)}">${elements.join('')}</svg>`;
}

/** @returns round numbers from 0 to at least `max` */
export function linearTicks(max: number): number[] {
  if (max <= 0) return [0, 1];
  const rough = max / TICKS_ABOUT;
  const magnitude = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * magnitude).find((size) => size >= rough)!;
  const count = Math.max(1, Math.ceil(max / step));
  return Array.from({ length: count + 1 }, (_, i) => Number((i * step).toPrecision(6)));
}

/** @returns powers of ten around all values */
export function logTicks(min: number, max: number): number[] {
  const from = Math.floor(Math.log10(min));
  const to = Math.max(from + 1, Math.ceil(Math.log10(max)));
  return Array.from({ length: to - from + 1 }, (_, i) => Number((10 ** (from + i)).toPrecision(6)));
}

export function escapeHtml(text: string): string {
  const entities: Record<string, string> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' };
  return text.replace(/[&<>"]/g, (character) => entities[character]!);
}

function makeScale(from: number, to: number, start: number, end: number): (value: number) => number {
  const span = to - from || 1;
  return (value) => Number((start + ((value - from) / span) * (end - start)).toFixed(1));
}

function makePath(
  { points }: Series,
  x: (value: number) => number,
  y: (value: number) => number,
  isLog: boolean,
): string {
  let path = '';
  let isOpen = false;
  for (const [px, py] of points) {
    const isDrawn = py !== null && (!isLog || py > 0);
    if (isDrawn) path += `${isOpen ? 'L' : 'M'}${x(px)} ${y(py)}`;
    isOpen = isDrawn;
  }
  return path;
}

function legend(series: readonly Series[]): string[] {
  const width = (WIDTH - LEFT - RIGHT) / Math.max(4, series.length);
  return series.map(({ name }, i) => {
    const left = LEFT + i * width;
    return `<path class="s${i}" d="M${left} 32h18"/>${textAt(left + 24, 36, 'start', name)}`;
  });
}

function shadeElements(from: number, to: number, label: string): string[] {
  const area = `<rect class="shade" x="${from}" y="${TOP}" width="${to - from}" height="${HEIGHT - BOTTOM - TOP}"/>`;
  return [area, textAt(from + 4, TOP + 12, 'start', label)];
}

function yTickElements(y: number, label: string): string[] {
  return [`<path class="grid" d="M${LEFT} ${y}H${WIDTH - RIGHT}"/>`, textAt(LEFT - 6, y + 4, 'end', label)];
}

function textAt(x: number, y: number, anchor: 'start' | 'middle' | 'end', text: string): string {
  return `<text x="${x}" y="${y}" text-anchor="${anchor}">${escapeHtml(text)}</text>`;
}

function tickLabel(value: number): string {
  return value.toLocaleString('en', {
    maximumSignificantDigits: 3,
    notation: value >= 100_000 ? 'compact' : 'standard',
  });
}

function minOr(values: readonly number[], otherwise: number): number {
  return values.reduce((min, value) => Math.min(min, value), values[0] ?? otherwise);
}

function maxOr(values: readonly number[], otherwise: number): number {
  return values.reduce((max, value) => Math.max(max, value), values[0] ?? otherwise);
}

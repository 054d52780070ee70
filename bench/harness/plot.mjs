/** Small plots as SVG for light and dark pages. */
import { short } from './alternate.mjs';

const WIDTH = 640;
const HEIGHT = 360;
const LEFT = 70;
const RIGHT = 30;
const TOP = 64;
const BOTTOM = 48;
const BAR_HEIGHT = 34;
const NAMES_WIDTH = 150;

/** Colours that colour-blind people can tell apart (Okabe and Ito, 2008), on white and on near-black. */
const SERIES = ['#0072b2', '#d55e00', '#009e73', '#cc79a7', '#e69f00', '#56b4e9'];
const STYLE = `
  svg { background: #fff } text { font: 12px system-ui, sans-serif; fill: #222 } .title { font-size: 15px }
  .axis { stroke: #444 } .grid { stroke: #ddd } .range { stroke: #222 }
  @media (prefers-color-scheme: dark) {
    svg { background: #0d1117 } text { fill: #e6e6e6 } .axis { stroke: #aaa } .grid { stroke: #30363d } .range { stroke: #eee }
  }`;

/**
 * Draws lines over a numeric axis.
 *
 * @param plot `title`; `x` and `y`: `{ label, log }`; `series`: `{ name, points: [[x, y], …], dashed }`
 */
export function linePlot({ title, x, y, series }) {
  const points = series.flatMap((one) => one.points);
  const toX = scale(
    points.map(([value]) => value),
    x.log,
    LEFT,
    WIDTH - RIGHT,
  );
  const toY = scale(
    points.map(([, value]) => value),
    y.log,
    HEIGHT - BOTTOM,
    TOP,
  );
  const elements = [
    ...toX.ticks.map((value) => line('grid', toX(value), TOP, toX(value), HEIGHT - BOTTOM)),
    ...toY.ticks.map((value) => line('grid', LEFT, toY(value), WIDTH - RIGHT, toY(value))),
    line('axis', LEFT, HEIGHT - BOTTOM, WIDTH - RIGHT, HEIGHT - BOTTOM),
    line('axis', LEFT, TOP, LEFT, HEIGHT - BOTTOM),
    ...toX.ticks.map((value) => text(toX(value), HEIGHT - BOTTOM + 16, short(value), 'middle')),
    ...toY.ticks.map((value) => text(LEFT - 6, toY(value) + 4, short(value), 'end')),
    text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 10, x.label, 'middle'),
    text(16, TOP - 10, y.label),
    ...series.map((one, i) => curve(one, i, toX, toY)),
    ...series.map(({ name }, i) => legend(name, i, series.length)),
  ];
  return svg(HEIGHT, title, elements);
}

/** Draws horizontal bars, Tallycast's in another colour. @param plot `title`; `unit`; `bars`: `{ name, median, min, max }` */
export function barPlot({ title, unit, bars }) {
  const height = TOP + bars.length * BAR_HEIGHT + BOTTOM;
  const most = Math.max(...bars.map(({ max }) => max));
  const toX = scale([0, most], false, LEFT + NAMES_WIDTH - 60, WIDTH - RIGHT - 40);
  const elements = bars.map(({ name, median, min, max }, i) => {
    const top = TOP - 10 + i * BAR_HEIGHT;
    const middle = top + BAR_HEIGHT / 2 - 4;
    const width = (toX(median) - toX(0)).toFixed(1);
    return [
      text(toX(0) - 8, middle + 4, name, 'end'),
      `<rect x="${toX(0)}" y="${top}" width="${width}" height="${BAR_HEIGHT - 8}" fill="${SERIES[name === 'tallycast' ? 1 : 0]}"/>`,
      line('range', toX(min), middle, toX(max), middle),
      text(toX(max) + 6, middle + 4, short(median)),
    ].join('');
  });
  const bottom = height - BOTTOM;
  const axis = toX.ticks.map((value) => text(toX(value), bottom + 8, short(value), 'middle'));
  const label = `${unit}: median, with the least and the most of the rounds`;
  return svg(height, title, [...elements, ...axis, text(WIDTH / 2, height - 12, label, 'middle')]);
}

function svg(height, title, elements) {
  const open = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" role="img">`;
  const heading = `<text class="title" x="16" y="26">${escaped(title)}</text>`;
  return `${open}<title>${escaped(title)}</title><style>${STYLE}</style>${heading}\n${elements.join('\n')}\n</svg>\n`;
}

/** @returns a function from values to pixels, whose `ticks` are the labelled values */
function scale(values, log, from, to) {
  const ticks = log ? powersAround(values) : stepsAround(values);
  const at = log ? Math.log10 : (value) => value;
  const first = at(ticks[0]);
  const span = at(ticks.at(-1)) - first || 1;
  const toPixel = (value) => Number((from + ((at(value) - first) / span) * (to - from)).toFixed(1));
  return Object.assign(toPixel, { ticks });
}

/** @returns 1, 2, 5, 10, … around positive values */
function powersAround(values) {
  const ticks = [];
  const least = Math.min(...values);
  const most = Math.max(...values);
  for (let power = Math.floor(Math.log10(least)); 10 ** power <= most * 10; power++) {
    for (const digit of [1, 2, 5]) ticks.push(digit * 10 ** power);
  }
  const first = Math.max(
    0,
    ticks.findLastIndex((tick) => tick <= least),
  );
  return ticks.slice(
    first,
    Math.max(
      first + 1,
      ticks.findIndex((tick) => tick >= most),
    ) + 1,
  );
}

/** @returns round numbers from 0 to above the maximum */
function stepsAround(values) {
  const most = Math.max(...values, Number.MIN_VALUE);
  const power = 10 ** Math.floor(Math.log10(most));
  const step = [0.2, 0.5, 1, 2].map((digit) => digit * power).find((one) => most / one <= 6);
  return Array.from({ length: Math.ceil(most / step) + 1 }, (_, i) => i * step);
}

function curve({ points, dashed = false }, i, toX, toY) {
  const colour = SERIES[i % SERIES.length];
  const path = points.map(([a, b]) => `${toX(a)},${toY(b)}`).join(' ');
  const dots = dashed ? '' : points.map(([a, b]) => `<circle cx="${toX(a)}" cy="${toY(b)}" r="3.5" fill="${colour}"/>`);
  const dashes = dashed ? ' stroke-dasharray="5 5"' : '';
  return `<polyline points="${path}" fill="none" stroke="${colour}" stroke-width="2"${dashes}/>${[dots].flat().join('')}`;
}

function legend(name, i, count) {
  const x = LEFT + 90 + (i * (WIDTH - LEFT - RIGHT - 90)) / Math.max(count, 2);
  return `<rect x="${x}" y="${TOP - 20}" width="12" height="12" fill="${SERIES[i % SERIES.length]}"/>${text(x + 18, TOP - 10, name)}`;
}

function line(name, x1, y1, x2, y2) {
  return `<line class="${name}" x1="${x1}" y1="${y1}" x2="${x2}" y2="${y2}"/>`;
}

function text(x, y, content, anchor = 'start') {
  return `<text x="${x}" y="${y}" text-anchor="${anchor}">${escaped(String(content))}</text>`;
}

function escaped(content) {
  return content.replaceAll('&', '&amp;').replaceAll('<', '&lt;');
}

import uPlot from 'uplot';
import 'uplot/dist/uPlot.min.css';
import { find } from './page.js';

/** A burst of ten seconds and its arrival take half of it. */
const WINDOW_MS = 24_000;
const HEIGHT_PX = 132;
/** Wide enough for 10,000. */
const AXIS_PX = 50;
const FONT = '12px system-ui, sans-serif';

/** Lines over the last seconds, in the colours of the figure's legend. */
export class Plot {
  readonly #plot: uPlot;
  readonly #times: number[] = [];
  readonly #lines: (number | null)[][];

  /** @param least smallest maximum of the axis, so that noise does not fill the plot */
  constructor(figure: HTMLElement, least: number) {
    const container = find('.plot', figure);
    const legend = [...figure.querySelectorAll<HTMLElement>('dl > div')];
    const colorOf = (element: Element): string => getComputedStyle(element).color;
    this.#lines = legend.map(() => []);
    const axis: uPlot.Axis = {
      stroke: () => colorOf(find('figcaption', figure)),
      grid: { stroke: () => getComputedStyle(figure).borderTopColor, width: 1 },
      ticks: { show: false },
      font: FONT,
    };
    this.#plot = new uPlot(
      {
        width: container.clientWidth,
        height: HEIGHT_PX,
        padding: [8, 12, 0, 0],
        legend: { show: false },
        cursor: { show: false },
        scales: {
          x: { time: false, range: [-WINDOW_MS / 1_000, 0] },
          y: { range: (_, __, most) => [0, Math.max(least, most * 1.15)] },
        },
        axes: [
          {
            ...axis,
            grid: { show: false },
            size: 24,
            splits: [-24, -12, 0],
            values: ['−24 s', '−12 s', 'now'],
            space: 0,
          },
          { ...axis, size: AXIS_PX, space: 36 },
        ],
        series: [
          {},
          ...legend.map((entry) => ({
            stroke: () => colorOf(find('dd', entry)),
            width: 1.75,
            points: { show: false },
          })),
        ],
      },
      [[], ...legend.map(() => [])],
      container,
    );
    new ResizeObserver(() => this.#plot.setSize({ width: container.clientWidth, height: HEIGHT_PX })).observe(
      container,
    );
    matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => this.#plot.redraw());
  }

  /** Adds a value for each line; `null` if nothing was measured. */
  add(now: number, values: readonly (number | null)[]): void {
    this.#times.push(now);
    this.#lines.forEach((line, i) => line.push(values[i] ?? null));
    while (this.#times[0]! < now - WINDOW_MS) {
      this.#times.shift();
      for (const line of this.#lines) line.shift();
    }
    this.#plot.setData([this.#times.map((time) => (time - now) / 1_000), ...this.#lines]);
  }
}

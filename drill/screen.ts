import type { Counts } from './regions.js';
import { PROMISED_MS, type PhaseResult } from './script.js';

/** The shown state. */
export interface Scene {
  readonly title: string;
  readonly seconds: number;
  readonly acknowledged: Counts;
  readonly regions: readonly { readonly name: string; readonly shown: Counts; readonly counted: Counts }[];
  readonly cables: readonly SceneCable[];
  readonly results: readonly PhaseResult[];
}

interface SceneCable {
  readonly from: string;
  readonly to: string;
  readonly isCut: boolean;
  /** Age of the oldest change that `to` may lack. */
  readonly lagSeconds: number | null;
}

const COLUMNS = 78;
/** Interval of lines if stdout is no terminal. */
const PLAIN_INTERVAL_S = 1;
const VIEWS_BAR = 24;
const LIKES_BAR = 12;

/** Shows the regions side by side: redrawn on a wide terminal, else as lines. */
export class Screen {
  #drawnLines = 0;
  #plainAtS = 0;
  #printedResults = 0;

  constructor(private readonly out: NodeJS.WriteStream) {}

  draw(scene: Scene): void {
    if (this.out.isTTY && this.out.columns >= COLUMNS) {
      const lines = renderPicture(scene);
      const up = this.#drawnLines === 0 ? '' : `\x1b[${this.#drawnLines}A`;
      this.out.write(`${up}${lines.map((line) => `${line}\x1b[K\n`).join('')}\x1b[J`);
      this.#drawnLines = lines.length;
      return;
    }
    for (const result of scene.results.slice(this.#printedResults)) this.out.write(`${renderResult(result)}\n`);
    this.#printedResults = scene.results.length;
    if (scene.seconds < this.#plainAtS) return;
    this.#plainAtS = Math.floor(scene.seconds) + PLAIN_INTERVAL_S;
    this.out.write(`${renderPlainLine(scene)}\n`);
  }
}

/** Shows each region's counts as bars of all acknowledged operations; the rest of a bar has not arrived there yet. */
function renderPicture({ title, seconds, acknowledged, regions, cables, results }: Scene): string[] {
  const row = (name: string, views: string, likes: string, counted: string): string =>
    `  ${name.padEnd(14)}${views.padEnd(VIEWS_BAR + 7)}${likes.padEnd(LIKES_BAR + 7)}${counted}`;
  return [
    `  ${title.padEnd(60)}${`${seconds.toFixed(0)} s`.padStart(14)}`,
    '',
    `  ${renderCables(cables).join('        ')}`,
    '',
    row('', 'views', 'likes', 'own operations'),
    ...regions.map(({ name, shown, counted }) =>
      row(
        name,
        renderGauge(shown.views, acknowledged.views, VIEWS_BAR),
        renderGauge(shown.likes, acknowledged.likes, LIKES_BAR),
        `${counted.views}, ${counted.likes}`,
      ),
    ),
    row(
      'acknowledged',
      ' '.repeat(VIEWS_BAR) + formatCount(acknowledged.views),
      ' '.repeat(LIKES_BAR) + formatCount(acknowledged.likes),
      '',
    ),
    '',
    `  replication lag  ${renderLags(cables)}`,
    '',
    ...results.map(renderResult),
  ];
}

function renderPlainLine({ title, seconds, acknowledged, regions, cables }: Scene): string {
  const counts = regions.map(({ name, shown }) => `${name} ${shown.views} views ${shown.likes} likes`);
  return `${seconds.toFixed(0).padStart(3)} s  ${title}: ${counts.join(', ')}; of ${acknowledged.views} and ${acknowledged.likes}; ${renderCables(cables).join('  ')}`;
}

function renderResult({ title, apart, agreedMs, acknowledged, shown }: PhaseResult): string {
  const drift = `${apart} apart`;
  if (agreedMs === null) {
    const wrong = shown
      .filter(({ likes, views }) => likes !== acknowledged.likes || views !== acknowledged.views)
      .map(({ name, likes, views }) => `${name} shows ${views} views and ${likes} likes`);
    return `  ✗ ${title}: ${drift}, and never agreed: ${wrong.join(', ')}, not ${acknowledged.views} and ${acknowledged.likes}`;
  }
  const took = `agreed after ${(agreedMs / 1_000).toFixed(2)} s`;
  const late = agreedMs > PROMISED_MS ? `, which is more than ${PROMISED_MS / 1_000} s` : '';
  return `  ${late === '' ? '✓' : '✗'} ${title.padEnd(26)}${drift.padStart(11)}, ${took}${late}`;
}

/** Renders both directions between two regions: `eu ◀── ──▶ us`. */
function renderCables(cables: readonly SceneCable[]): string[] {
  const isCut = (from: string, to: string): boolean =>
    cables.some((one) => one.from === from && one.to === to && one.isCut);
  return cables
    .filter(({ from, to }, i) => cables.findIndex((one) => one.from === to && one.to === from) > i)
    .map(({ from, to }) => `${from} ${isCut(to, from) ? ' ╳ ' : '◀──'}${isCut(from, to) ? ' ╳ ' : '──▶'} ${to}`);
}

function renderLags(cables: readonly SceneCable[]): string {
  const late = cables.filter(({ lagSeconds }) => lagSeconds !== 0);
  return late.map(({ from, to, lagSeconds }) => `${from}→${to} ${lagSeconds?.toFixed(1) ?? '?'} s`).join('  ') || '–';
}

function renderGauge(shown: number, acknowledged: number, width: number): string {
  const filled = acknowledged === 0 ? 0 : Math.min(width, Math.floor((shown / acknowledged) * width));
  return '█'.repeat(filled) + '░'.repeat(width - filled) + formatCount(shown);
}

function formatCount(count: number): string {
  return String(count).padStart(5);
}

import type { Counts } from './regions.js';
import { PROMISED_MS, type PhaseResult } from './script.js';

/** The state that the screen shows now. */
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
  /** Age of what `to` is not known to have. */
  readonly lagSeconds: number | null;
}

const COLUMNS = 78;
/** Where it is no terminal, a line is written so often. */
const PLAIN_EVERY_S = 1;
const VIEWS_BAR = 24;
const LIKES_BAR = 12;

/** The regions side by side: drawn over itself on a terminal that is wide enough, else a line now and then. */
export class Screen {
  #drawn = 0;
  #plainAtS = 0;
  #told = 0;

  constructor(private readonly out: NodeJS.WriteStream) {}

  draw(scene: Scene): void {
    if (this.out.isTTY && this.out.columns >= COLUMNS) {
      const lines = picture(scene);
      const up = this.#drawn === 0 ? '' : `\x1b[${this.#drawn}A`;
      this.out.write(`${up}${lines.map((line) => `${line}\x1b[K\n`).join('')}\x1b[J`);
      this.#drawn = lines.length;
      return;
    }
    for (const result of scene.results.slice(this.#told)) this.out.write(`${resultLine(result)}\n`);
    this.#told = scene.results.length;
    if (scene.seconds < this.#plainAtS) return;
    this.#plainAtS = Math.floor(scene.seconds) + PLAIN_EVERY_S;
    this.out.write(`${plainLine(scene)}\n`);
  }
}

/** Each region's count, of what was acknowledged in all: what is missing in a bar, the region does not know yet. */
function picture({ title, seconds, acknowledged, regions, cables, results }: Scene): string[] {
  const row = (name: string, views: string, likes: string, counted: string): string =>
    `  ${name.padEnd(14)}${views.padEnd(VIEWS_BAR + 7)}${likes.padEnd(LIKES_BAR + 7)}${counted}`;
  return [
    `  ${title.padEnd(60)}${`${seconds.toFixed(0)} s`.padStart(14)}`,
    '',
    `  ${pairs(cables).join('        ')}`,
    '',
    row('', 'views', 'likes', 'counted itself'),
    ...regions.map(({ name, shown, counted }) =>
      row(
        name,
        gauge(shown.views, acknowledged.views, VIEWS_BAR),
        gauge(shown.likes, acknowledged.likes, LIKES_BAR),
        `${counted.views}, ${counted.likes}`,
      ),
    ),
    row(
      'acknowledged',
      ' '.repeat(VIEWS_BAR) + number(acknowledged.views),
      ' '.repeat(LIKES_BAR) + number(acknowledged.likes),
      '',
    ),
    '',
    `  not told yet for  ${lags(cables)}`,
    '',
    ...results.map(resultLine),
  ];
}

function plainLine({ title, seconds, acknowledged, regions, cables }: Scene): string {
  const counts = regions.map(({ name, shown }) => `${name} ${shown.views} views ${shown.likes} likes`);
  return `${seconds.toFixed(0).padStart(3)} s  ${title}: ${counts.join(', ')}; of ${acknowledged.views} and ${acknowledged.likes}; ${pairs(cables).join('  ')}`;
}

function resultLine({ title, apart, agreedMs, acknowledged, shown }: PhaseResult): string {
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

/** Both directions of each way between two regions: `eu ◀── ──▶ us`. */
function pairs(cables: readonly SceneCable[]): string[] {
  const isCut = (from: string, to: string): boolean =>
    cables.some((one) => one.from === from && one.to === to && one.isCut);
  return cables
    .filter(({ from, to }, i) => cables.findIndex((one) => one.from === to && one.to === from) > i)
    .map(({ from, to }) => `${from} ${isCut(to, from) ? ' ╳ ' : '◀──'}${isCut(from, to) ? ' ╳ ' : '──▶'} ${to}`);
}

function lags(cables: readonly SceneCable[]): string {
  const late = cables.filter(({ lagSeconds }) => lagSeconds !== 0);
  return late.map(({ from, to, lagSeconds }) => `${from}→${to} ${lagSeconds?.toFixed(1) ?? '?'} s`).join('  ') || '–';
}

function gauge(shown: number, acknowledged: number, width: number): string {
  const filled = acknowledged === 0 ? 0 : Math.min(width, Math.floor((shown / acknowledged) * width));
  return '█'.repeat(filled) + '░'.repeat(width - filled) + number(shown);
}

function number(count: number): string {
  return String(count).padStart(5);
}

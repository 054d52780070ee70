/** Results of a bench: on the terminal, and in docs/benchmarks as JSON and plots. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { short } from './alternate.mjs';
import { ROOT } from './servers.mjs';

/** Folder of the results of all benches. */
export const FOLDER = join(ROOT, 'docs', 'benchmarks');

/** Compares a figure with a target: `{ atMost }`, `{ below }` or `{ atLeast }`, each a number. */
export function check(what, value, target) {
  const [[relation, limit]] = Object.entries(target);
  const holds = { atMost: value <= limit, below: value < limit, atLeast: value >= limit }[relation];
  const text = { atMost: 'at most', below: 'below', atLeast: 'at least' }[relation];
  return { what, value, target: `${text} ${short(limit)}`, met: value !== null && holds };
}

/** Makes a table with a row for each candidate from the result of `alternate`. `columns`: `{ figure: heading }`. */
export function tableOf(title, { figures, ratios, baseline }, columns) {
  const ratioOf = Object.keys(columns)[0];
  return {
    title,
    columns: ['', ...Object.values(columns), `min to max`, `of ${baseline}`],
    rows: Object.entries(figures).map(([name, of]) => [
      name,
      ...Object.keys(columns).map((figure) => short(of[figure]?.median)),
      `${short(of[ratioOf]?.min)} to ${short(of[ratioOf]?.max)}`,
      name === baseline ? '1' : short(ratios[name][ratioOf]?.median),
    ]),
  };
}

function printTable({ title, columns, rows }) {
  const all = [columns, ...rows].map((row) => row.map(String));
  const widths = columns.map((_, i) => Math.max(...all.map((row) => row[i].length)));
  console.log(`\n${title}`);
  for (const row of all) {
    console.log(`  ${row.map((cell, i) => (i === 0 ? cell.padEnd(widths[i]) : cell.padStart(widths[i]))).join('  ')}`);
  }
}

/** Renders a table as Markdown. */
export function markdownTable({ columns, rows }) {
  const line = (cells) => `| ${cells.join(' | ')} |`;
  return [line(columns), line(columns.map((_, i) => (i === 0 ? '---' : '---:'))), ...rows.map(line)].join('\n');
}

/**
 * Prints tables, verdicts and flags, and writes NAME.json and the plots.
 *
 * @param result the result of a bench's `run`: `{ tables, checks?, flags?, plots?, data? }`; `plots` is SVG keyed by file
 *   name without `.svg`
 */
export function report(name, title, machine, { tables, checks = [], flags = [], plots = {}, data = {} }) {
  tables.forEach(printTable);
  if (checks.length > 0) console.log('');
  for (const { what, value, target, met } of checks) {
    console.log(`  ${met ? 'met   ' : 'MISSED'} ${what}: ${short(value)} (${target})`);
  }
  for (const flag of flags) console.log(`  note: ${flag}`);
  mkdirSync(FOLDER, { recursive: true });
  const json = { name, title, at: new Date().toISOString(), machine, tables, checks, flags, data };
  writeFileSync(join(FOLDER, `${name}.json`), `${JSON.stringify(json, null, 2)}\n`);
  for (const [plot, svg] of Object.entries(plots)) writeFileSync(join(FOLDER, `${plot}.svg`), svg);
}

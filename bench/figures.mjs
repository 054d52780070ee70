/**
 * Copies the last results of the benches into docs/benchmarks.md.
 *
 *     node bench/figures.mjs
 *
 * Replaces the text between `<!-- figures NAME -->` and `<!-- end -->` by the tables and verdicts of
 * docs/benchmarks/NAME.json, and between `<!-- machine -->` and `<!-- end -->` by the machines of the results.
 */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { short } from './harness/alternate.mjs';
import { FOLDER, markdownTable } from './harness/results.mjs';
import { ROOT } from './harness/servers.mjs';

const PAGE = join(ROOT, 'docs', 'benchmarks.md');

const machines = new Set();
const page = readFileSync(PAGE, 'utf8')
  .replaceAll(/(<!-- figures (\S+) -->\n)[^]*?(?=<!-- end -->)/g, (_, mark, name) => `${mark}${renderFigures(name)}`)
  .replaceAll(/(<!-- machine -->\n)[^]*?(?=<!-- end -->)/g, (_, mark) => `${mark}${[...machines].join('\n')}\n`);
writeFileSync(PAGE, page);

function renderFigures(name) {
  const file = join(FOLDER, `${name}.json`);
  if (!existsSync(file)) return 'Not measured yet.\n';
  const { machine, tables, checks, flags } = JSON.parse(readFileSync(file, 'utf8'));
  machines.add(describeMachine(machine));
  const sections = tables.map((table) => `${table.title}:\n\n${markdownTable(table)}\n`);
  if (checks.length > 0) sections.push(markdownTable(verdictTable(checks)) + '\n');
  if (flags.length > 0) sections.push(`Note: ${flags.join('; ')}.\n`);
  return sections.join('\n');
}

function verdictTable(checks) {
  return {
    columns: ['target', 'seen', 'limit', ''],
    rows: checks.map(({ what, value, target, met }) => [what, short(value), target, met ? 'met' : '**missed**']),
  };
}

function describeMachine(machine) {
  const entries = Object.entries(machine).filter(([name, value]) => name !== 'tallycast' && value !== null);
  return `- ${entries.map(([name, value]) => `${name} ${value}`).join(', ')}`;
}

/**
 * Puts what the benches found last into docs/benchmarks.md.
 *
 *     node bench/figures.mjs
 *
 * What stands between `<!-- figures NAME -->` and `<!-- end -->` there becomes the tables and verdicts of
 * docs/benchmarks/NAME.json, and between `<!-- machine -->` and `<!-- end -->` what they were measured on.
 */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { short } from './harness/alternate.mjs';
import { FOLDER, markdownTable } from './harness/results.mjs';
import { ROOT } from './harness/servers.mjs';

const PAGE = join(ROOT, 'docs', 'benchmarks.md');

const machines = new Set();
const page = readFileSync(PAGE, 'utf8')
  .replaceAll(/(<!-- figures (\S+) -->\n)[^]*?(?=<!-- end -->)/g, (_, mark, name) => `${mark}${figuresOf(name)}`)
  .replaceAll(/(<!-- machine -->\n)[^]*?(?=<!-- end -->)/g, (_, mark) => `${mark}${[...machines].join('\n')}\n`);
writeFileSync(PAGE, page);

function figuresOf(name) {
  const file = join(FOLDER, `${name}.json`);
  if (!existsSync(file)) return 'Not measured yet.\n';
  const { machine, tables, checks, flags } = JSON.parse(readFileSync(file, 'utf8'));
  machines.add(machineOf(machine));
  const parts = tables.map((table) => `${table.title}:\n\n${markdownTable(table)}\n`);
  if (checks.length > 0) parts.push(markdownTable(verdictsOf(checks)) + '\n');
  if (flags.length > 0) parts.push(`Beware: ${flags.join('; ')}.\n`);
  return parts.join('\n');
}

function verdictsOf(checks) {
  return {
    columns: ['target', 'seen', 'limit', ''],
    rows: checks.map(({ what, value, target, met }) => [what, short(value), target, met ? 'met' : '**missed**']),
  };
}

function machineOf(machine) {
  const parts = Object.entries(machine).filter(([name, value]) => name !== 'tallycast' && value !== null);
  return `- ${parts.map(([name, value]) => `${name} ${value}`).join(', ')}`;
}

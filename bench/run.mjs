/**
 * Side-by-side measurements.
 *
 *     node bench/run.mjs [NAME …] [rounds=5] [seconds=4] [serverCore=0] [loadCore=1] [option=value …]
 *
 * Needs `npm run build`. Runs bench/benches/NAME.mjs, or all of them without a name. Each exports `title`, `run(context)`
 * and, if it has any, `options` with their defaults. Prints the results and writes them to docs/benchmarks.
 */
import { readdirSync } from 'node:fs';
import { cpus } from 'node:os';
import { join } from 'node:path';
import { describeMachine, printMachine } from './harness/machine.mjs';
import { endAll, pinSelf } from './harness/processes.mjs';
import { report } from './harness/results.mjs';

const STANDARD = { rounds: 5, seconds: 4, serverCore: 0, loadCore: Math.min(1, cpus().length - 1) };

class UsageError extends Error {}

const available = readdirSync(join(import.meta.dirname, 'benches'))
  .filter((file) => file.endsWith('.mjs'))
  .map((file) => file.slice(0, -'.mjs'.length));

try {
  const { names, given } = parse(process.argv.slice(2));
  const benches = [];
  for (const name of names) benches.push({ name, ...(await import(`./benches/${name}.mjs`)) });
  const options = Object.assign({}, STANDARD, ...benches.map((bench) => bench.options ?? {}));
  const unknown = Object.keys(given).find((option) => !(option in options));
  if (unknown !== undefined)
    throw new UsageError(`unknown option ${unknown}; expected one of: ${Object.keys(options).join(', ')}`);
  const { rounds, seconds, serverCore, loadCore } = { ...STANDARD, ...given };
  const cores = { server: serverCore, load: loadCore };
  pinSelf(cores.load);
  const machine = describeMachine(cores);
  printMachine(machine);
  for (const bench of benches) {
    console.log(`\n${bench.name}: ${bench.title}`);
    const own = Object.entries(bench.options ?? {}).map(([option, standard]) => [option, given[option] ?? standard]);
    const context = { rounds, seconds, cores, options: Object.fromEntries(own), log: console.log };
    const result = await bench.run(context);
    report(bench.name, bench.title, machine, result);
    await endAll();
  }
} catch (error) {
  console.error(error instanceof UsageError ? error.message : error);
  process.exitCode = 1;
} finally {
  await endAll();
}

/** Parses `name=value`; a value is a number, a list of numbers (`1000,10000`) or a text. */
function parse(args) {
  const names = args.filter((arg) => !arg.includes('='));
  const wrong = names.find((name) => !available.includes(name));
  if (wrong !== undefined) throw new UsageError(`unknown bench ${wrong}; expected one of: ${available.join(', ')}`);
  const given = {};
  for (const arg of args.filter((one) => one.includes('='))) {
    const at = arg.indexOf('=');
    given[arg.slice(0, at)] = parseValue(arg.slice(at + 1));
  }
  return { names: names.length > 0 ? names : available, given };
}

function parseValue(text) {
  if (/^\d+(,\d+)+$/.test(text)) return text.split(',').map(Number);
  return /^\d+(\.\d+)?$/.test(text) ? Number(text) : text;
}

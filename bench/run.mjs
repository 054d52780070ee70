/**
 * Side-by-side measurements.
 *
 *     node bench/run.mjs [NAME …] [rounds=5] [seconds=4] [serverCore=0] [loadCore=1] [option=value …]
 *
 * Needs `npm run build`. Runs bench/benches/NAME.mjs, all of them without a name; each exports `title`, `run(context)`
 * and, if it takes some, `options` with their defaults. Prints what it found and writes it to docs/benchmarks.
 */
import { readdirSync } from 'node:fs';
import { cpus } from 'node:os';
import { join } from 'node:path';
import { describeMachine, printMachine } from './harness/machine.mjs';
import { endAll, pinSelf } from './harness/processes.mjs';
import { report } from './harness/results.mjs';

const STANDARD = { rounds: 5, seconds: 4, serverCore: 0, loadCore: Math.min(1, cpus().length - 1) };

class UsageError extends Error {}

const known = readdirSync(join(import.meta.dirname, 'benches'))
  .filter((file) => file.endsWith('.mjs'))
  .map((file) => file.slice(0, -'.mjs'.length));

try {
  const { names, given } = parse(process.argv.slice(2));
  const benches = [];
  for (const name of names) benches.push({ name, ...(await import(`./benches/${name}.mjs`)) });
  const options = Object.assign({}, STANDARD, ...benches.map((bench) => bench.options ?? {}));
  const unknown = Object.keys(given).find((option) => !(option in options));
  if (unknown !== undefined)
    throw new UsageError(`no option ${unknown}; there are: ${Object.keys(options).join(', ')}`);
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

/** `name=value`: a number, a list of numbers (`1000,10000`) for options whose standard is one, else a text. */
function parse(args) {
  const names = args.filter((arg) => !arg.includes('='));
  const wrong = names.find((name) => !known.includes(name));
  if (wrong !== undefined) throw new UsageError(`no bench ${wrong}; there are: ${known.join(', ')}`);
  const given = {};
  for (const arg of args.filter((one) => one.includes('='))) {
    const at = arg.indexOf('=');
    given[arg.slice(0, at)] = valueOf(arg.slice(at + 1));
  }
  return { names: names.length > 0 ? names : known, given };
}

function valueOf(text) {
  if (/^\d+(,\d+)+$/.test(text)) return text.split(',').map(Number);
  return /^\d+(\.\d+)?$/.test(text) ? Number(text) : text;
}

import { access, constants, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { ArgumentError, help, type Load, parseArguments } from './arguments.js';
import { GatewayError } from './counts.js';
import { renderReport } from './report-page.js';
import { type Result, Run, RunError } from './run.js';
import { describeLoad, Progress, formatSummary } from './terminal.js';
import { ThreadError } from './threads.js';

const NOT_EXACT = 1;
const NOT_RUN = 2;
const INTERRUPTED = 130;

/** @returns the exit code */
async function main(): Promise<number> {
  try {
    const load = parseArguments(process.argv.slice(2));
    if (load === null) {
      process.stdout.write(help());
      return 0;
    }
    return await run(load);
  } catch (error) {
    const isExpected = [ArgumentError, GatewayError, RunError, ThreadError].some((kind) => error instanceof kind);
    if (!isExpected) throw error;
    process.stderr.write(`${(error as Error).message}\n`);
    return NOT_RUN;
  }
}

async function run(load: Load): Promise<number> {
  await checkWritable('--json', load.json);
  await checkWritable('--report', load.report);
  process.stdout.write(`${describeLoad(load)}\n`);
  const run = new Run(load, new Progress());
  let interrupts = 0;
  process.on('SIGINT', () => {
    interrupts += 1;
    if (interrupts > 1) process.exit(INTERRUPTED);
    run.finish();
  });
  const result = await run.execute();
  process.stdout.write(`${[...formatSummary(result.summary, result.cores), ...result.verdict.lines].join('\n')}\n`);
  await write(load, result);
  return result.verdict.isExact ? 0 : NOT_EXACT;
}

/** Called before the run, so that a wrong path costs no run. */
async function checkWritable(option: string, file: string | null): Promise<void> {
  if (file === null) return;
  const directory = dirname(file);
  await access(directory, constants.W_OK).catch(() => {
    throw new ArgumentError(`${option} must be a file in a directory that can be written to, not "${file}"`);
  });
}

async function write(load: Load, result: Result): Promise<void> {
  if (load.json !== null) await writeFile(load.json, `${JSON.stringify(result, null, 2)}\n`);
  if (load.report !== null) await writeFile(load.report, renderReport(result));
}

process.exitCode = await main();

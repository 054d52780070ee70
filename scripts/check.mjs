// Runs all static checks, two at a time, and prints the output of those that fail. npm run check.
import { exec } from 'node:child_process';

const AT_A_TIME = 2;
const OUTPUT_MAX_BYTES = 16 * 2 ** 20;

/** Slowest checks first. */
const checks = [
  'eslint .',
  'tsc --noEmit',
  'prettier --check .',
  'depcruise src client client-demo load drill',
  'tsc --noEmit -p client',
  'tsc --noEmit -p client-demo',
  'tsc --noEmit -p load',
  'tsc --noEmit -p drill',
  'knip',
  'node scripts/check-language.mjs',
];

function run(command) {
  return new Promise((resolve) => {
    exec(command, { maxBuffer: OUTPUT_MAX_BYTES }, (error, stdout, stderr) => {
      console.log(error === null ? `ok      ${command}` : `FAILED  ${command}\n${stdout}${stderr}`);
      if (error !== null) process.exitCode = 1;
      resolve();
    });
  });
}

async function runInTurn() {
  for (let command = checks.shift(); command !== undefined; command = checks.shift()) await run(command);
}

await Promise.all(Array.from({ length: AT_A_TIME }, runInTurn));

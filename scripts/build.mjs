// Builds the server, the client, the demo, the load generator and the drill. npm run build.
// With --if-changed it does nothing if the sources have not changed since the last build.
import { exec } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const SOURCES = [
  ...['src', 'client', 'client-demo', 'load', 'drill', 'scripts'],
  ...['package-lock.json', 'package.json', 'nest-cli.json', 'tsconfig.json', 'tsconfig.build.json'],
];
const GENERATED = new Set(['node_modules', 'dist']);
const FINGERPRINT = 'dist/sources.sha256';
/** One file of each result, to notice an interrupted or deleted build. */
const RESULTS = [
  'dist/main.js',
  'dist/client/tallycast.js',
  'dist/client-demo/index.html',
  'build/main.js',
  'client/dist/index.js',
];
const OUTPUT_MAX_BYTES = 16 * 2 ** 20;
/** Steps of a line run one after the other; the lines run in parallel. */
const LINES = [
  [['the server', 'npm run -s build:server']],
  [
    ['the client', 'npm run -s build:client'],
    ['the demo', 'vite build client-demo --logLevel warn'],
    ['the compressed files', 'node scripts/compress.mjs dist/client dist/client-demo'],
    ['the load generator', 'npm run -s build:load'],
    ['the drill', 'npm run -s build:drill'],
  ],
];

function* listFiles(path) {
  if (!statSync(path).isDirectory()) yield path;
  else for (const name of readdirSync(path).sort()) if (!GENERATED.has(name)) yield* listFiles(join(path, name));
}

function fingerprint() {
  const hash = createHash('sha256');
  for (const source of SOURCES) {
    for (const file of listFiles(source))
      if (!/\.(test\.ts|md)$/.test(file)) hash.update(file).update(readFileSync(file));
  }
  return hash.digest('hex');
}

function runStep([what, command]) {
  const startedAtMs = performance.now();
  return new Promise((resolve, reject) => {
    exec(command, { maxBuffer: OUTPUT_MAX_BYTES }, (error, stdout, stderr) => {
      const seconds = ((performance.now() - startedAtMs) / 1000).toFixed(1);
      if (error !== null) reject(new Error(`building ${what} failed: ${command}\n${stdout}${stderr}`));
      else resolve(console.error(`  built ${what} in ${seconds} s`));
    });
  });
}

async function runLine(steps) {
  for (const step of steps) await runStep(step);
}

function isBuilt(sources) {
  return (
    RESULTS.every((file) => existsSync(file)) &&
    existsSync(FINGERPRINT) &&
    readFileSync(FINGERPRINT, 'utf8') === sources
  );
}

const now = fingerprint();
if (process.argv.includes('--if-changed') && isBuilt(now)) {
  console.error('the build is up to date');
} else {
  console.error('building the server, the client, the demo and the tools; takes half a minute');
  for (const folder of ['build', 'dist', 'client/dist']) rmSync(folder, { recursive: true, force: true });
  // Waits for all lines even after a failure, because a running one would write into the next build.
  const failed = (await Promise.allSettled(LINES.map(runLine))).filter(({ status }) => status === 'rejected');
  for (const { reason } of failed) console.error(reason.message);
  if (failed.length > 0) process.exitCode = 1;
  else writeFileSync(FINGERPRINT, now);
}

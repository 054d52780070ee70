/** The machine and the versions of a measurement, and the system limits that benches need. */
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { cpus, release, totalmem, type } from 'node:os';
import { join } from 'node:path';
import { canPin } from './processes.mjs';
import { ROOT } from './servers.mjs';

/** The machine and the versions of all programs; `null`: not installed. */
export function describeMachine(cores) {
  const model = /model name\s*:\s*(.*)/i.exec(readOrEmpty('/proc/cpuinfo'))?.[1] ?? cpus()[0]?.model;
  return {
    cpu: model,
    cores: cpus().length,
    memoryGiB: Math.round(totalmem() / 2 ** 30),
    kernel: `${type()} ${release()}`,
    node: process.version,
    tallycast: outputOf('git', ['-C', ROOT, 'rev-parse', '--short', 'HEAD'], /^[0-9a-f]+$/m) ?? packageVersion('.'),
    ws: packageVersion('node_modules/ws'),
    'socket.io': packageVersion('node_modules/socket.io'),
    nginx: outputOf('nginx', ['-v'], /nginx\/(\S+)/),
    nchan: outputOf('dpkg-query', ['-W', '-f', '${Version}', 'libnginx-mod-nchan'], /\S+/),
    'nats-server': outputOf('nats-server', ['-v'], /v(\d\S+)/),
    'redis-server': outputOf('redis-server', ['-v'], /v=(\S+)/),
    cc: outputOf('cc', ['--version'], /.*/),
    pinned: canPin ? `server on core ${cores.server}, load on core ${cores.load}` : 'not pinned: there is no taskset',
  };
}

export function printMachine(machine) {
  console.log(
    Object.entries(machine)
      .map(([name, value]) => `${name} ${value ?? 'not installed'}`)
      .join(', '),
  );
}

/**
 * Ensures that processes started from now on may open this many sockets.
 *
 * @throws Error with the setting to change, in one line
 */
export function needSockets(count) {
  const files = count + 1_000;
  const limit = /^Max open files\s+\S+\s+(\S+)/m.exec(readOrEmpty('/proc/self/limits'))?.[1];
  if (limit !== undefined && limit !== 'unlimited' && Number(limit) < files) {
    const raised = spawnSync('prlimit', ['--pid', String(process.pid), `--nofile=${files}:${files}`]).status === 0;
    if (!raised)
      throw new Error(`${count} sockets need ${files} open files a process: \`ulimit -n ${files}\` (now ${limit})`);
  }
}

function packageVersion(folder) {
  return JSON.parse(readFileSync(join(ROOT, folder, 'package.json'), 'utf8')).version;
}

/** @returns the match of `pattern` in the output; null if the command is not installed */
function outputOf(command, args, pattern) {
  const { stdout, stderr, error } = spawnSync(command, args, { encoding: 'utf8' });
  if (error !== undefined) return null;
  const found = pattern.exec(`${stdout}${stderr}`);
  return found?.[1] ?? found?.[0] ?? null;
}

function readOrEmpty(path) {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}

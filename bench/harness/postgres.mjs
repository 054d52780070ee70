/** A PostgreSQL for measurements, durable as an operator's, with a new data directory. */
import { execFileSync, spawnSync } from 'node:child_process';
import { chownSync, existsSync, realpathSync } from 'node:fs';
import { delimiter, dirname, join } from 'node:path';
import { start, temporaryDirectory } from './processes.mjs';
import { freePort } from './servers.mjs';
import { setTimeout as sleep } from 'node:timers/promises';

const USER = 'postgres';
const READY_TRIES = 300;
const VERSIONS = [18, 17, 16, 15, 14, 13];

/** @returns `{ createDatabase(), end() }`: `createDatabase` returns the URL of a new database */
export async function startPostgres(core) {
  const programs = findPrograms();
  const directory = temporaryDirectory();
  // PostgreSQL does not run as root.
  const prefix = process.getuid() === 0 ? ['setpriv', '--reuid', USER, '--regid', USER, '--init-groups'] : [];
  if (prefix.length > 0) chownSync(directory, idOf('-u'), idOf('-g'));
  const data = join(directory, 'data');
  const [init, ...initArgs] = [...prefix, join(programs, 'initdb'), '-D', data, '-U', USER, '-A', 'trust', '--no-sync'];
  execFileSync(init, initArgs, { stdio: 'ignore', cwd: '/' });
  const port = await freePort();
  const settings = [`port=${port}`, 'listen_addresses=127.0.0.1', `unix_socket_directories=${directory}`];
  const all = [...settings, 'shared_buffers=512MB', 'max_wal_size=4GB'].flatMap((setting) => ['-c', setting]);
  const [command, ...args] = [...prefix, join(programs, 'postgres'), '-D', data, ...all];
  const server = start(command, args, { core, endSignal: 'SIGQUIT' });
  for (let tries = 0; !isReady(programs, port); tries++) {
    server.alive();
    if (tries > READY_TRIES) throw new Error('PostgreSQL is not ready');
    await sleep(100);
  }
  let databases = 0;
  const createDatabase = () => {
    const name = `bench_${++databases}`;
    execFileSync(join(programs, 'createdb'), ['-h', '127.0.0.1', '-p', String(port), '-U', USER, name]);
    return `postgres://${USER}@127.0.0.1:${port}/${name}`;
  };
  return { createDatabase, end: () => server.end() };
}

function isReady(programs, port) {
  return spawnSync(join(programs, 'pg_isready'), ['-h', '127.0.0.1', '-p', String(port)]).status === 0;
}

/** All programs lie in the folder of the server; Debian has a folder for each version, which is not on PATH. */
function findPrograms() {
  const folders = [
    ...process.env.PATH.split(delimiter),
    ...VERSIONS.map((version) => `/usr/lib/postgresql/${version}/bin`),
  ];
  const candidates = [process.env.POSTGRES_BIN ?? '', ...folders.map((folder) => join(folder, 'postgres'))];
  const found = candidates.find((path) => path !== '' && existsSync(path));
  if (found === undefined)
    throw new Error('PostgreSQL is missing: set POSTGRES_BIN to the path of its program postgres');
  return dirname(realpathSync(found));
}

function idOf(option) {
  return Number(execFileSync('id', [option, USER], { encoding: 'utf8' }));
}

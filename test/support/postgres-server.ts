import { execFileSync } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { chown, readFile, writeFile } from 'node:fs/promises';
import { existsSync, realpathSync, statfsSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { Client, type ClientConfig } from 'pg';
import { freePort } from './free-port.js';
import { Processes } from './processes.js';
import { until } from './until.js';

/** A PostgreSQL on 127.0.0.1 with `fsync`. It asks everybody for a password. */
export interface PostgresServer {
  readonly port: number;
  readonly dir: string;
  /** Lines of its log so far. */
  readonly log: readonly string[];
  /** Makes an empty database. @returns the URL of its owner, who is a superuser */
  createDatabase(): Promise<TestDatabase>;
  /** Ends all of its processes at once: SIGKILL, or SIGQUIT, which is `pg_ctl stop -m immediate`. Resolves when they have ended. */
  kill(signal: 'SIGKILL' | 'SIGQUIT' | 'SIGINT'): Promise<void>;
  /** Starts a killed server again. Resolves when it answers. */
  restart(): Promise<void>;
}

export interface TestDatabase {
  readonly name: string;
  readonly url: URL;
  /** With another login, port or search of the URL. */
  urlWith(changes: Partial<Pick<URL, 'username' | 'password' | 'port' | 'search' | 'pathname'>>): URL;
  /** Runs SQL in the name of a superuser, with a new connection. */
  sql<R extends Record<string, unknown>>(text: string, values?: unknown[]): Promise<R[]>;
}

const HOST = '127.0.0.1';
const USER = 'postgres';
const PASSWORD = 'a secret/of: tests';
/** Another process may take the free port first. */
const PORT_ATTEMPTS = 5;
/** Servers of tests that were killed with SIGKILL leave memory that the next one has to wait for. */
const BUSY = /pre-existing shared memory block|lock file .* already exists/;
const TAKEN = /could not bind|Address already in use/;

/** Linux has a file system in memory here. */
const MEMORY = '/dev/shm';
/** Several servers run at once, with some hundred megabytes each. */
const MEMORY_MIN_BYTES = 3 * 2 ** 30;

const processes = new Processes();
const clients = new Set<Client>();

/** Starts a server with a new data directory. */
export async function startPostgres(settings: readonly string[] = []): Promise<PostgresServer> {
  const dir = await processes.newDir(findParentDir());
  await chownToServer(dir);
  const passwordFile = join(dir, 'password');
  await writeFile(passwordFile, PASSWORD, { mode: 0o644 });
  const data = join(dir, 'data');
  runProgram('initdb', [
    ...['-D', data, '-U', USER, '-A', 'scram-sha-256', `--pwfile=${passwordFile}`],
    ...['-E', 'UTF8', '--no-locale', '--no-sync'],
  ]);
  for (let attempt = 1; ; attempt++) {
    const server = new Server(await freePort(), dir, settings);
    try {
      await server.restart();
      return server;
    } catch (error) {
      if (!server.log.some((line) => TAKEN.test(line)) || attempt === PORT_ATTEMPTS) throw error;
    }
  }
}

/** Ends all servers of this test file, and closes its clients. For `afterAll`. */
export async function stopPostgres(): Promise<void> {
  await Promise.all([...clients].map((client) => client.end().catch(() => undefined)));
  await processes.end();
}

/** Options of a process that must not run as root, as the servers of PostgreSQL and pgbouncer must not. */
export function asServerUser(): { uid?: number; gid?: number } {
  if (process.getuid?.() !== 0) return {};
  const id = (option: string): number => Number(execFileSync('id', [option, USER], { encoding: 'utf8' }));
  return { uid: id('-u'), gid: id('-g') };
}

export async function chownToServer(path: string): Promise<void> {
  const { uid, gid } = asServerUser();
  if (uid !== undefined && gid !== undefined) await chown(path, uid, gid);
}

/** A database is 300 files, which take a third of the CPU in memory. A killed server loses nothing of them there either. */
function findParentDir(): string {
  if (!existsSync(MEMORY)) return tmpdir();
  const { bavail, bsize } = statfsSync(MEMORY);
  return bavail * bsize > MEMORY_MIN_BYTES ? MEMORY : tmpdir();
}

/** The programs of PostgreSQL lie in one folder; on PATH there may be links to them. */
function programPath(name: string): string {
  return join(dirname(realpathSync(process.env['POSTGRES_BIN'] ?? 'postgres')), name);
}

function runProgram(name: string, args: readonly string[]): void {
  execFileSync(programPath(name), args, { ...asServerUser(), cwd: '/', stdio: ['ignore', 'ignore', 'pipe'] });
}

class Server implements PostgresServer {
  readonly log: string[] = [];
  #child: ChildProcess | undefined;
  #closed: Promise<void> = Promise.resolve();
  #databases = 0;

  constructor(
    readonly port: number,
    readonly dir: string,
    private readonly settings: readonly string[],
  ) {}

  async createDatabase(): Promise<TestDatabase> {
    const name = `test_${++this.#databases}`;
    await this.#query({ database: 'postgres' }, `CREATE DATABASE ${name}`);
    const url = new URL(`postgres://${HOST}:${this.port}/${name}`);
    url.username = USER;
    url.password = encodeURIComponent(PASSWORD);
    return {
      name,
      url,
      urlWith: (changes) => Object.assign(new URL(url), changes),
      sql: async <R extends Record<string, unknown>>(text: string, values?: unknown[]) =>
        (await this.#query({ database: name }, text, values)) as R[],
    };
  }

  async kill(signal: 'SIGKILL' | 'SIGQUIT' | 'SIGINT'): Promise<void> {
    const children = await readChildren(this.#child!.pid!);
    this.#child!.kill(signal);
    if (signal === 'SIGKILL') for (const pid of children) killQuietly(pid);
    await this.#closed;
  }

  async restart(): Promise<void> {
    let isStarted = false;
    await until(async () => {
      const from = this.log.length;
      isStarted = await this.#start();
      if (isStarted) return true;
      const output = this.log.slice(from);
      if (output.some((line) => BUSY.test(line))) return false;
      throw new Error(`PostgreSQL on port ${this.port} ended:\n${output.join('\n')}`);
    }, `PostgreSQL starts on port ${this.port}`);
  }

  /** @returns false: it ended */
  async #start(): Promise<boolean> {
    const settings = [
      ...[`port=${this.port}`, `listen_addresses=${HOST}`, `unix_socket_directories=${this.dir}`],
      ...['fsync=on', 'max_connections=40', 'shared_buffers=64MB', 'lc_messages=C', ...this.settings],
    ];
    const args = ['-D', join(this.dir, 'data'), ...settings.flatMap((setting) => ['-c', setting])];
    const options = {
      ...asServerUser(),
      cwd: this.dir,
      stdio: ['ignore', 'pipe', 'pipe'] as ['ignore', 'pipe', 'pipe'],
    };
    const { child, closed } = processes.start(programPath('postgres'), args, options);
    this.#child = child;
    this.#closed = closed;
    for (const output of [child.stdout!, child.stderr!]) {
      createInterface({ input: output }).on('line', (line) => this.log.push(line));
    }
    let hasEnded = false;
    void closed.finally(() => (hasEnded = true));
    await until(async () => hasEnded || (await this.#answers()), `PostgreSQL answers on port ${this.port}`);
    return !hasEnded;
  }

  async #answers(): Promise<boolean> {
    return await this.#query({ database: 'postgres' }, 'SELECT current_setting($1) AS dir', ['data_directory']).then(
      ([row]) => row!['dir'] === join(this.dir, 'data'),
      () => false,
    );
  }

  async #query(config: ClientConfig, text: string, values?: unknown[]): Promise<Record<string, unknown>[]> {
    const client = new Client({ host: HOST, port: this.port, user: USER, password: PASSWORD, ...config });
    clients.add(client);
    client.on('error', () => undefined);
    try {
      await client.connect();
      return (await client.query<Record<string, unknown>>(text, values)).rows;
    } finally {
      clients.delete(client);
      await client.end().catch(() => undefined);
    }
  }
}

/** Children of a killed server end by themselves, but not at once: where they cannot be found, `restart` waits for them. */
async function readChildren(pid: number): Promise<number[]> {
  const text = await readFile(`/proc/${pid}/task/${pid}/children`, 'utf8').catch(() => '');
  return text.split(' ').filter(Boolean).map(Number);
}

function killQuietly(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // It has ended already.
  }
}

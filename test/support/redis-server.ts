import type { ChildProcess } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { createInterface } from 'node:readline';
import { type Cluster, Redis } from 'ioredis';
import { freePort } from './free-port.js';
import { Processes } from './processes.js';
import { until } from './until.js';

/** A Redis process on 127.0.0.1. It keeps nothing on disk unless its arguments enable that. */
export interface RedisServer {
  readonly host: string;
  readonly port: number;
  /** `redis://127.0.0.1:port` */
  readonly url: string;
  /** Changes with `restart`. */
  readonly pid: number;
  readonly dir: string;
  /** Lines of its output so far. */
  readonly log: readonly string[];
  /** A new client for the test itself: it never reconnects, and its commands fail at once. `stopRedis` closes it. */
  client(options?: { commandTimeout: number }): Redis;
  /** Sends the signal and resolves when the process has ended; at once for SIGSTOP and SIGCONT. */
  kill(signal: NodeJS.Signals): Promise<void>;
  /** Starts a killed server again with the same port, directory and arguments. Resolves when it answers. */
  restart(): Promise<void>;
}

export interface RedisOptions {
  /** Further arguments of redis-server; the last one of a name wins. */
  readonly args?: readonly string[];
  /** A free one by default. */
  readonly port?: number;
  /** Directory for its files; a new one by default, removed by `stopRedis`. */
  readonly dir?: string;
}

const HOST = '127.0.0.1';
/** A stopped server does not even reject connections. */
const ANSWER_MS = 5_000;
/** Another process may take the free port first. */
const PORT_ATTEMPTS = 5;
const NO_FILES = ['--save', '', '--appendonly', 'no'];
/** A primary sends its data to a new replica at once, instead of waiting 5 s for further ones. */
const FAST_SYNC = ['--repl-diskless-sync', 'yes', '--repl-diskless-sync-delay', '0'];

const processes = new Processes();
const clients = new Set<Redis | Cluster>();

/** Starts a Redis and resolves when it answers PING. */
export async function startRedis({ args = [], port, dir }: RedisOptions = {}): Promise<RedisServer> {
  const at = dir ?? (await processes.newDir());
  return await start((port) => [...commonArgs(port, at), ...NO_FILES, ...FAST_SYNC, ...args], at, port);
}

/** Starts a replica and resolves when it has all of the primary's data and the primary reports it as online. */
export async function startReplica(of: RedisServer, options: RedisOptions = {}): Promise<RedisServer> {
  const args = ['--replicaof', of.host, String(of.port), ...(options.args ?? [])];
  const replica = await startRedis({ ...options, args });
  await untilInSync(replica, of);
  return replica;
}

/** Starts a Sentinel, which keeps its state in the given configuration. */
export async function startSentinel(config: readonly string[]): Promise<RedisServer> {
  const dir = await processes.newDir();
  const path = `${dir}/sentinel.conf`;
  await writeFile(path, config.map((line) => `${line}\n`).join(''));
  return await start((port) => [path, '--sentinel', ...commonArgs(port, dir)], dir);
}

/** Ends all Redis servers of this test file and closes its clients. For `afterAll`. */
export async function stopRedis(): Promise<void> {
  for (const client of clients) client.disconnect();
  clients.clear();
  await processes.end();
}

/** Registers this client, which `stopRedis` closes. Error events are ignored, because failed commands report them. */
export function closeWithRedis<T extends Redis | Cluster>(client: T): T {
  clients.add(client);
  client.on('error', () => undefined);
  client.on('end', () => clients.delete(client));
  return client;
}

/** Uses a new connection, because Sentinels cut the connections of a server whose role they change. */
export async function withClient<T>(server: RedisServer, question: (client: Redis) => Promise<T>): Promise<T> {
  const client = server.client({ commandTimeout: ANSWER_MS });
  try {
    return await question(client);
  } finally {
    // If the connection is closed already, ioredis would wait 2 s for the close event.
    if (client.status !== 'end') client.disconnect();
  }
}

/** Waits until the replica has the primary's data and receives its changes. */
export async function untilInSync(replica: RedisServer, primary: RedisServer): Promise<void> {
  const isOnline = new RegExp(`^slave\\d+:ip=[^,]*,port=${replica.port},state=online`, 'm');
  const matches = (server: RedisServer, fact: RegExp): Promise<boolean> =>
    withClient(server, async (client) => fact.test(await client.info('replication'))).catch(() => false);
  await until(
    async () => (await matches(replica, /^master_link_status:up/m)) && (await matches(primary, isOnline)),
    `${replica.url} is in sync with ${primary.url}`,
  );
}

/** Waits until the replica has what the primary has committed until now. */
export async function untilCaughtUp(replica: RedisServer, primary: RedisServer): Promise<void> {
  const committed = await readOffset(primary);
  await until(async () => (await readOffset(replica)) >= committed, `${replica.url} has all commits of ${primary.url}`);
}

async function readOffset(server: RedisServer): Promise<number> {
  const info = await withClient(server, (client) => client.info('replication'));
  return Number(/^master_repl_offset:(\d+)/m.exec(info)![1]);
}

function commonArgs(port: number, dir: string): string[] {
  return ['--bind', HOST, '--port', String(port), '--dir', dir];
}

async function start(argsAt: (port: number) => string[], dir: string, fixedPort?: number): Promise<RedisServer> {
  for (let attempt = 1; ; attempt++) {
    const port = fixedPort ?? (await freePort());
    const server = new Server(port, dir, argsAt(port));
    try {
      await server.restart();
      return server;
    } catch (error) {
      const isTaken = server.log.some((line) => line.includes('Address already in use'));
      if (!isTaken || fixedPort !== undefined || attempt === PORT_ATTEMPTS) throw error;
    }
  }
}

class Server implements RedisServer {
  readonly host = HOST;
  readonly url: string;
  readonly log: string[] = [];
  #child: ChildProcess | undefined;
  #closed: Promise<void> = Promise.resolve();

  constructor(
    readonly port: number,
    readonly dir: string,
    private readonly args: readonly string[],
  ) {
    this.url = `redis://${HOST}:${port}`;
  }

  get pid(): number {
    return this.#child!.pid!;
  }

  client(options?: { commandTimeout: number }): Redis {
    const { host, port } = this;
    const asIs = { retryStrategy: () => null, autoResendUnfulfilledCommands: false };
    return closeWithRedis(new Redis({ ...asIs, ...options, host, port }));
  }

  async kill(signal: NodeJS.Signals): Promise<void> {
    this.#child!.kill(signal);
    if (signal !== 'SIGSTOP' && signal !== 'SIGCONT') await this.#closed;
  }

  async restart(): Promise<void> {
    const program = process.env['REDIS_SERVER_BIN'] ?? 'redis-server';
    const { child, closed } = processes.start(program, this.args, { stdio: ['ignore', 'pipe', 'pipe'] });
    this.#child = child;
    this.#closed = closed;
    for (const output of [child.stdout!, child.stderr!]) {
      createInterface({ input: output }).on('line', (line) => this.log.push(line));
    }
    let failure: string | undefined;
    closed.then(
      () => (failure = `ended by ${child.signalCode ?? `exit code ${child.exitCode ?? 'unknown'}`}`),
      (error: unknown) => (failure = String(error)),
    );
    const isReady = async (): Promise<boolean> => {
      if (failure !== undefined) throw new Error(failure);
      return await this.#answers();
    };
    try {
      await until(isReady, 'answers');
    } catch (error) {
      child.kill('SIGKILL');
      throw new Error(`${program} on ${this.url}: ${String(error)}\n${this.log.join('\n')}`, { cause: error });
    }
  }

  /** Checks the process id, too, because another process may have taken the port. */
  async #answers(): Promise<boolean> {
    const isThis = `process_id:${this.pid}\r\n`;
    const answer = withClient(this, async (client) => [await client.ping(), await client.info('server')]);
    return await answer.then(
      ([, info]) => info!.includes(isThis),
      () => false,
    );
  }
}

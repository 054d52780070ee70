import type { ChildProcess } from 'node:child_process';
import { connect, type NatsConnection } from '@nats-io/transport-node';
import { freePort } from './free-port.js';
import { Processes } from './processes.js';
import { until } from './until.js';

/** A nats-server with JetStream on 127.0.0.1, which keeps its streams in a temporary directory. */
export interface NatsServer {
  readonly port: number;
  /** `nats://127.0.0.1:port` */
  readonly url: string;
  /** A new connection for the test itself, which never reconnects. `stopNats` closes it. */
  connect(): Promise<NatsConnection>;
  /** Sends SIGKILL and resolves when the process has ended. */
  kill(): Promise<void>;
  /** Starts a killed server again with the same port and directory. Resolves when it answers. */
  restart(): Promise<void>;
}

const HOST = '127.0.0.1';

const processes = new Processes();
const connections = new Set<NatsConnection>();

/** @param args further arguments, such as a user and a password */
export async function startNats(args: readonly string[] = []): Promise<NatsServer> {
  const port = await freePort();
  const dir = await processes.newDir();
  const server = new Server(port, ['--addr', HOST, '--port', String(port), '--jetstream', '--store_dir', dir, ...args]);
  await server.restart();
  return server;
}

/** Ends all servers of this test file and closes its connections. For `afterAll`. */
export async function stopNats(): Promise<void> {
  await Promise.all([...connections].map((connection) => connection.close()));
  connections.clear();
  await processes.end();
}

class Server implements NatsServer {
  readonly url: string;
  #child: ChildProcess | undefined;
  #closed: Promise<void> = Promise.resolve();
  #log = '';

  constructor(
    readonly port: number,
    private readonly args: readonly string[],
  ) {
    this.url = `nats://${HOST}:${port}`;
  }

  async connect(): Promise<NatsConnection> {
    const connection = await connect({ servers: `${HOST}:${this.port}`, reconnect: false });
    connections.add(connection);
    void connection.closed().then(() => connections.delete(connection));
    return connection;
  }

  async kill(): Promise<void> {
    this.#child!.kill('SIGKILL');
    await this.#closed;
  }

  async restart(): Promise<void> {
    const program = process.env['NATS_SERVER_BIN'] ?? 'nats-server';
    const { child, closed } = processes.start(program, this.args, { stdio: ['ignore', 'pipe', 'pipe'] });
    this.#child = child;
    this.#closed = closed;
    this.#log = '';
    for (const output of [child.stdout!, child.stderr!]) {
      output.on('data', (chunk: Buffer) => (this.#log += chunk.toString()));
    }
    let failure: string | undefined;
    closed.then(
      () => (failure = `ended by ${child.signalCode ?? `exit code ${child.exitCode ?? 'unknown'}`}`),
      (error: unknown) => (failure = String(error)),
    );
    const isReady = (): boolean => {
      if (failure !== undefined) throw new Error(failure);
      return this.#log.includes('Server is ready');
    };
    try {
      await until(isReady, 'is ready');
    } catch (error) {
      child.kill('SIGKILL');
      throw new Error(`${program} on ${this.url}: ${String(error)}\n${this.#log}`, { cause: error });
    }
  }
}

import cluster, { type Worker } from 'node:cluster';
import { mkdtempSync, rmSync } from 'node:fs';
import type { Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Logger } from 'pino';
import { Backoff } from '../common/backoff.js';
import { onEndSignal } from '../common/process-signals.js';
import { createLogger } from '../ops/logger.js';
import type { Settings } from '../config/settings.js';
import { closeConnectionsInTransit } from './connections-in-transit.js';
import { HeldPorts } from './held-ports.js';
import {
  type CloseMessage,
  type HandOverMessage,
  type ListeningMessage,
  SOCKETS_VARIABLE,
  socketPath,
  stopReading,
  type WorkerMessage,
} from './messages.js';

/** Pauses before a worker is restarted. They are not random, because restarts of workers do not collide. */
const RESTART = new Backoff(100, 5_000, () => 1);
/** A worker that ran for this long had started well, so its end counts as a first failure. */
const STEADY_MS = 30_000;
/** Workers exit at most 20 s after SIGTERM. The primary then kills those whose event loop is blocked. */
const END_LIMIT_MS = 22_000;

/**
 * Runs `workers` gateways on one port, and resolves when all of them listen.
 * @param flags the settings of the command line, as environment variables
 */
export async function runWorkers(settings: Settings, flags: Readonly<Record<string, string>>): Promise<void> {
  const logger = await createLogger(settings.logLevel);
  const folder = mkdtempSync(join(tmpdir(), 'tallycast-'));
  process.once('exit', () => rmSync(folder, { recursive: true, force: true }));
  const ports = new HeldPorts();
  // A flag would take precedence over the port that the primary chose, so workers get the flags as variables.
  cluster.setupPrimary({ args: [] });
  const environment = { ...flags, ...(await ports.hold(settings)), [SOCKETS_VARIABLE]: folder };
  const primary = new Primary(logger, folder, environment);
  cluster.on('message', (from, message: WorkerMessage, connection: unknown) => {
    // The worker's request for the port follows in the same channel.
    if (message.kind === 'about to listen') ports.release();
    if (message.kind === 'hand over') primary.handOver(message, connection as Socket | undefined);
    if (message.kind === 'drained') primary.drained(from);
  });
  onEndSignal((signal) => primary.end(signal));
  await primary.run(settings);
}

/**
 * Restarts workers that end, and passes connections on to them, because this process owns the listening socket. The primary reads
 * nothing from connections and runs no gateway.
 */
class Primary {
  readonly #workers = new Map<number, Worker>();
  readonly #drained = new Set<Worker>();
  /** Connections that were sent to a worker and that it has not taken over yet. */
  readonly #passing = new Map<Worker, Set<Socket>>();
  #isBooted = false;
  /** Set once the primary drains: it exits with this code after its last worker. */
  #exitCode: number | null = null;

  constructor(
    private readonly logger: Logger,
    private readonly folder: string,
    private readonly environment: Readonly<Record<string, string>>,
  ) {}

  async run({ workers }: Settings): Promise<void> {
    // One worker boots first, so that a wrong setting is reported once.
    const { url, opsUrl } = await this.#start(0);
    await Promise.all(Array.from({ length: workers - 1 }, () => this.#start(0)));
    this.#isBooted = true;
    this.logger.info({ url, ...(opsUrl !== undefined && { opsUrl }), workers }, 'listening');
  }

  end(signal: NodeJS.Signals): void {
    if (this.#exitCode !== null) return;
    this.logger.info({ signal }, 'draining');
    this.#endWith(0);
  }

  /** Passes the connection on to the worker that has its session. */
  handOver(message: HandOverMessage, connection: Socket | undefined): void {
    // Undefined if the client has closed the connection in the meantime.
    if (connection === undefined) return;
    const worker = this.#workers.get(message.to);
    stopReading(connection);
    const passing = worker && this.#passing.get(worker);
    // The sender's server closes only when Node has counted every connection that it handed over as closed here.
    if (passing === undefined) {
      connection.destroy();
      return;
    }
    passing.add(connection);
    worker!.send(message, connection, () => {
      passing.delete(connection);
      connection.destroy();
    });
  }

  /** While all workers drain, each may have to relay requests to another one, until that one's clients have read their `bye`. */
  drained(worker: Worker): void {
    this.#drained.add(worker);
    this.#closeDrained();
  }

  #closeDrained(): void {
    if (this.#exitCode !== null && this.#drained.size < this.#workers.size) return;
    const close: CloseMessage = { kind: 'close' };
    for (const worker of this.#drained) worker.send(close, () => undefined);
    this.#drained.clear();
  }

  /**
   * Starts a worker, and resolves with its URLs when it listens.
   * @param failures consecutive failures before this start
   */
  #start(failures: number): Promise<ListeningMessage> {
    const worker = cluster.fork(this.environment);
    closeConnectionsInTransit(worker);
    const startedMs = performance.now();
    this.#workers.set(worker.id, worker);
    this.#passing.set(worker, new Set());
    worker.once('exit', (code, signal) => {
      this.#workers.delete(worker.id);
      this.#drained.delete(worker);
      this.#dropPassing(worker);
      rmSync(socketPath(this.folder, worker.id), { force: true });
      if (this.#exitCode !== null) this.#exitAfterLast(code);
      else if (!this.#isBooted) this.#failBoot(worker, signal);
      else this.#restart(worker, code, signal, performance.now() - startedMs > STEADY_MS ? 1 : failures + 1);
    });
    return new Promise((resolve) => {
      worker.on('message', (message: WorkerMessage) => {
        if (message.kind === 'listening') resolve(message);
      });
    });
  }

  /** Node drops the queue of a channel whose other end has exited, and calls no callbacks of `send`. */
  #dropPassing(worker: Worker): void {
    for (const connection of this.#passing.get(worker) ?? []) connection.destroy();
    this.#passing.delete(worker);
  }

  #restart({ id, process: { pid } }: Worker, code: number, signal: string | null, failures: number): void {
    const pauseMs = RESTART.pauseMs(failures);
    this.logger.error({ worker: id, workerPid: pid, code, signal, pauseMs }, 'a worker ended and is started again');
    setTimeout(() => {
      if (this.#exitCode === null) void this.#start(failures);
    }, pauseMs);
  }

  /** A worker that cannot start has printed why. */
  #failBoot({ process: { pid } }: Worker, signal: string | null): void {
    if (signal !== null) process.stderr.write(`worker ${pid ?? ''} was ended by ${signal} while it started\n`);
    this.#endWith(1);
  }

  #endWith(code: number): void {
    this.#exitCode = code;
    setTimeout(() => {
      for (const worker of this.#workers.values()) worker.process.kill('SIGKILL');
      process.exit(1);
    }, END_LIMIT_MS).unref();
    for (const worker of this.#workers.values()) worker.process.kill('SIGTERM');
    this.#exitAfterLast(0);
  }

  /** The exit code is 1 if a worker's drain failed. A worker that a signal ended had nothing to drain yet. */
  #exitAfterLast(code: number | null): void {
    this.#exitCode ||= code ?? 0;
    this.#closeDrained();
    if (this.#workers.size > 0) return;
    this.logger.info('closed');
    process.exit(this.#exitCode);
  }
}

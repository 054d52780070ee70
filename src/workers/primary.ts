import cluster, { type Worker } from 'node:cluster';
import { mkdtempSync, rmSync } from 'node:fs';
import type { Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Logger } from 'pino';
import { Backoff } from '../common/backoff.js';
import { onEndSignal } from '../common/end-signal.js';
import { createLogger } from '../ops/logger.js';
import type { Settings } from '../config/settings.js';
import {
  type CloseMessage,
  type HandOverMessage,
  type ListeningMessage,
  SOCKETS_VARIABLE,
  socketPath,
  stopReading,
  type WorkerMessage,
} from './messages.js';

/** Before a worker that ended is started again. Not random: workers have nothing to collide at. */
const RESTART = new Backoff(100, 5_000, () => 1);
/** A worker that lived this long had started well: its death is the first one again. */
const STEADY_MS = 30_000;
/** Workers end themselves 20 s after they were told to. This is for those whose event loop stands still. */
const END_LIMIT_MS = 22_000;

/** Runs `workers` gateways on one port, and resolves when all of them listen. */
export async function runWorkers(settings: Settings): Promise<void> {
  const logger = await createLogger(settings.logLevel);
  const folder = mkdtempSync(join(tmpdir(), 'tallycast-'));
  process.once('exit', () => rmSync(folder, { recursive: true, force: true }));
  const primary = new Primary(logger, folder);
  cluster.on('message', (from, message: WorkerMessage, connection: unknown) => {
    if (message.kind === 'hand over') primary.handOver(message, connection as Socket | undefined);
    if (message.kind === 'drained') primary.drained(from);
  });
  onEndSignal((signal) => primary.end(signal));
  await primary.run(settings);
}

/**
 * Keeps the workers alive, and passes connections on to them: the system's listening socket is this process's. It reads
 * nothing from them, and is no gateway itself.
 */
class Primary {
  readonly #workers = new Map<number, Worker>();
  readonly #drained = new Set<Worker>();
  /** By the worker that they go to: connections that it has not taken yet. */
  readonly #passing = new Map<Worker, Set<Socket>>();
  #booted = false;
  /** Set when it is to end, as soon as its workers are gone. */
  #exitCode: number | null = null;

  constructor(
    private readonly logger: Logger,
    private readonly folder: string,
  ) {}

  async run({ workers }: Settings): Promise<void> {
    // One alone, so that what is wrong with the settings is said once.
    const { url, opsUrl } = await this.#start(0);
    await Promise.all(Array.from({ length: workers - 1 }, () => this.#start(0)));
    this.#booted = true;
    this.logger.info({ url, ...(opsUrl !== undefined && { opsUrl }), workers }, 'listening');
  }

  end(signal: NodeJS.Signals): void {
    if (this.#exitCode !== null) return;
    this.logger.info({ signal }, 'draining');
    this.#endWith(0);
  }

  /** Passes the connection on to the worker that has its session. */
  handOver(message: HandOverMessage, connection: Socket | undefined): void {
    // Without one the client has left in the meantime.
    if (connection === undefined) return;
    const worker = this.#workers.get(message.to);
    stopReading(connection);
    const passing = worker && this.#passing.get(worker);
    // The sender's server ends when Node has counted every connection that it passed on as closed here.
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

  /** While all drain, each may have to relay requests for another, to the last word of that one's clients. */
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
   * Resolves with its URLs when it listens.
   * @param failures in a row, of workers that it takes the place of
   */
  #start(failures: number): Promise<ListeningMessage> {
    const worker = cluster.fork({ [SOCKETS_VARIABLE]: this.folder });
    const startedMs = performance.now();
    this.#workers.set(worker.id, worker);
    this.#passing.set(worker, new Set());
    worker.once('exit', (code, signal) => {
      this.#workers.delete(worker.id);
      this.#drained.delete(worker);
      this.#dropPassing(worker);
      rmSync(socketPath(this.folder, worker.id), { force: true });
      if (this.#exitCode !== null) this.#exitWhenAlone(code);
      else if (!this.#booted) this.#giveUp(worker, signal);
      else this.#startAgain(worker, code, signal, performance.now() - startedMs > STEADY_MS ? 1 : failures + 1);
    });
    return new Promise((resolve) => {
      worker.on('message', (message: WorkerMessage) => {
        if (message.kind === 'listening') resolve(message);
      });
    });
  }

  /** Node forgets what a channel had queued when its other end dies: nobody would be called for these. */
  #dropPassing(worker: Worker): void {
    for (const connection of this.#passing.get(worker) ?? []) connection.destroy();
    this.#passing.delete(worker);
  }

  #startAgain({ id, process: { pid } }: Worker, code: number, signal: string | null, failures: number): void {
    const pauseMs = RESTART.pauseMs(failures);
    this.logger.error({ worker: id, workerPid: pid, code, signal, pauseMs }, 'a worker ended and is started again');
    setTimeout(() => {
      if (this.#exitCode === null) void this.#start(failures);
    }, pauseMs);
  }

  /** A worker that cannot start says why. */
  #giveUp({ process: { pid } }: Worker, signal: string | null): void {
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
    this.#exitWhenAlone(0);
  }

  /** With 1 if a worker's drain failed. One that a signal ended had nothing to drain yet. */
  #exitWhenAlone(code: number | null): void {
    this.#exitCode ||= code ?? 0;
    this.#closeDrained();
    if (this.#workers.size > 0) return;
    this.logger.info('closed');
    process.exit(this.#exitCode);
  }
}

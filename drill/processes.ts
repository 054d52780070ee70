import { type ChildProcess, spawn } from 'node:child_process';
import { randomInt } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

/** The drill failed; the message is for its user. */
export class DrillError extends Error {}

export const HOST = '127.0.0.1';

/** A gateway that drains ends within 20 s. */
const ENDING_MS = 22_000;
/** The last lines of a process, which show why it ended. */
const LOG_LINES = 5;
/** Below the ports that systems assign to outgoing connections, which could take one before its server does. */
const LOWEST_PORT = 12_000;
const END_PORT = 32_000;
const PORT_ATTEMPTS = 20;

interface Program {
  /** Name in messages. */
  readonly name: string;
  readonly command: string;
  readonly args: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  /** The process is ready when it has written a line that contains this text. */
  readonly ready: string;
  /** Instructions if the command is missing. */
  readonly install?: string;
}

/** Processes and directories of this drill, removed however it ends. */
export class Processes {
  readonly #running = new Set<ChildProcess>();
  readonly #dirs: string[] = [];
  readonly #failed: Promise<never>;
  #fail!: (error: DrillError) => void;
  #isEnding = false;

  constructor() {
    this.#failed = new Promise((_, reject) => (this.#fail = reject));
    this.#failed.catch(() => undefined);
    process.once('exit', () => this.#endNow());
  }

  /** Rejects when a process ends unexpectedly. */
  get failed(): Promise<never> {
    return this.#failed;
  }

  newDir(): string {
    const dir = mkdtempSync(join(tmpdir(), 'tallycast-drill-'));
    this.#dirs.push(dir);
    return dir;
  }

  /** Resolves when the process is ready, with a function that kills it as a crash would. */
  async start({ name, command, args, env = {}, ready, install = '' }: Program): Promise<() => Promise<void>> {
    if (this.#isEnding) throw new DrillError(`${name} is not needed any more`);
    const { PATH = '', HOME = '' } = process.env;
    // In its own process group, because Ctrl-C must reach the drill only, which ends gateways before their stores.
    const child = spawn(command, args, {
      env: { PATH, HOME, ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
      detached: true,
    });
    this.#running.add(child);
    let isKilled = false;
    const log: string[] = [];
    const isReady = new Promise<void>((resolve) => {
      for (const output of [child.stdout, child.stderr]) {
        createInterface({ input: output }).on('line', (line) => {
          log.push(line);
          if (log.length > LOG_LINES) log.shift();
          if (line.includes(ready)) resolve();
        });
      }
    });
    child.once('error', () => this.#fail(new DrillError(`${command} cannot be started. ${install}`)));
    child.once('close', () => {
      this.#running.delete(child);
      const how = child.signalCode ?? `exit code ${child.exitCode ?? 'unknown'}`;
      if (!this.#isEnding && !isKilled) this.#fail(new DrillError([`${name} ended, by ${how}`, ...log].join('\n')));
    });
    await Promise.race([isReady, this.#failed]);
    return async () => {
      isKilled = true;
      const closed = once(child, 'close');
      if (child.kill('SIGKILL')) await closed;
    };
  }

  async end(): Promise<void> {
    this.#isEnding = true;
    const timer = setTimeout(() => this.#endNow(), ENDING_MS);
    await Promise.all(
      [...this.#running].map(async (child) => {
        const closed = once(child, 'close');
        if (child.kill('SIGTERM')) await closed;
      }),
    );
    clearTimeout(timer);
    this.#endNow();
  }

  #endNow(): void {
    for (const child of this.#running) child.kill('SIGKILL');
    for (const dir of this.#dirs.splice(0)) rmSync(dir, { recursive: true, force: true, maxRetries: 3 });
  }
}

export async function freePort(): Promise<number> {
  for (let attempt = 0; attempt < PORT_ATTEMPTS; attempt++) {
    const port = randomInt(LOWEST_PORT, END_PORT);
    const server = createServer().listen(port, HOST);
    try {
      await once(server, 'listening');
    } catch {
      continue;
    }
    server.close();
    await once(server, 'close');
    return port;
  }
  throw new DrillError(`no free port of ${HOST} between ${LOWEST_PORT} and ${END_PORT}`);
}

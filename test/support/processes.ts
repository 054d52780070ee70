import { type ChildProcess, type SpawnOptions, spawn } from 'node:child_process';
import { once } from 'node:events';
import { rmSync } from 'node:fs';
import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { runInThisContext } from 'node:vm';

/** Jest gives test files a copy of `process` that gets no signals and no exit; the main context has the real one. */
const realProcess = runInThisContext('process') as NodeJS.Process;

const ENDING_SIGNALS: readonly NodeJS.Signals[] = ['SIGINT', 'SIGTERM', 'SIGHUP'];

/** Groups that have running processes or directories. */
const groups = new Set<Processes>();

/**
 * Processes that a test file starts and directories that it makes for them. `end` removes both. So does a signal by which
 * Jest ends a worker without `afterAll`: no process may outlive the tests that it was started for.
 */
export class Processes {
  readonly #running = new Set<ChildProcess>();
  readonly #dirs = new Set<string>();

  /** @returns `closed`: resolves when the process has ended and all its output was read, rejects if it cannot start */
  start(
    program: string,
    args: readonly string[],
    options: SpawnOptions,
  ): { child: ChildProcess; closed: Promise<void> } {
    this.#registerCleanup();
    const child = spawn(program, args, options);
    this.#running.add(child);
    const closed = once(child, 'close').then(() => undefined);
    const forget = (): void => void this.#running.delete(child);
    closed.then(forget, forget);
    return { child, closed };
  }

  async newDir(parent = tmpdir()): Promise<string> {
    this.#registerCleanup();
    const dir = await mkdtemp(join(parent, 'tallycast-test-'));
    this.#dirs.add(dir);
    return dir;
  }

  /** Kills the running processes, waits for them, and removes the directories. */
  async end(): Promise<void> {
    const closed = [...this.#running].map((child) => once(child, 'close'));
    this.#kill();
    await Promise.all(closed);
    this.#removeDirs();
    groups.delete(this);
    if (groups.size > 0) return;
    realProcess.off('exit', endAll);
    for (const signal of ENDING_SIGNALS) realProcess.off(signal, endBySignal);
  }

  endNow(): void {
    this.#kill();
    this.#removeDirs();
  }

  #registerCleanup(): void {
    groups.add(this);
    if (realProcess.listeners('exit').includes(endAll)) return;
    realProcess.once('exit', endAll);
    for (const signal of ENDING_SIGNALS) realProcess.once(signal, endBySignal);
  }

  #kill(): void {
    for (const child of this.#running) child.kill('SIGKILL');
  }

  #removeDirs(): void {
    for (const dir of this.#dirs) rmSync(dir, { recursive: true, force: true, maxRetries: 3 });
    this.#dirs.clear();
  }
}

function endAll(): void {
  for (const group of groups) group.endNow();
}

function endBySignal(signal: NodeJS.Signals): void {
  endAll();
  realProcess.kill(realProcess.pid, signal);
}

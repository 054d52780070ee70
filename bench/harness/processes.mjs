/**
 * Child processes pinned to a core, and temporary directories. Both are removed when this process ends, whatever the
 * reason.
 */
import { spawn, spawnSync } from 'node:child_process';
import { EventEmitter, once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { clearTimeout, setTimeout } from 'node:timers';

/** Unread lines kept of each process: enough for the error that it ends with. */
const LINES_KEPT = 1_000;
/** Time between the end signal and SIGKILL. */
const END_LIMIT_MS = 5_000;

const running = new Set();
const directories = new Set();

process.once('exit', () => {
  for (const { child, endSignal } of running) child.kill(endSignal);
  for (const directory of directories)
    rmSync(directory, { recursive: true, force: true, maxRetries: 5, retryDelay: 50 });
});
for (const [signal, code] of Object.entries({ SIGINT: 130, SIGTERM: 143, SIGHUP: 129 })) {
  // Not `once`: a second signal (`timeout` sends two) would end this process before it has ended the others.
  process.on(signal, () => process.exit(code));
}

/** False if there is no taskset (macOS): then processes run on any core. */
export const canPin = spawnSync('taskset', ['-p', String(process.pid)]).status === 0;

/** Pins this process, all its threads, to a core. */
export function pinSelf(core) {
  if (canPin) spawnSync('taskset', ['-a', '-cp', String(core), String(process.pid)]);
}

/** @returns a directory that is removed when this process ends */
export function temporaryDirectory() {
  const directory = mkdtempSync(join(tmpdir(), 'tallycast-bench-'));
  directories.add(directory);
  return directory;
}

/** Ends every process started here, and waits for it. */
export async function endAll() {
  await Promise.all([...running].map((started) => started.end()));
}

/**
 * Starts a program on a core (`null`: on any). It inherits only PATH and HOME of this process's environment. `endSignal`
 * is SIGKILL by default, because measured servers keep no data.
 */
export function start(command, args, { core = null, env = {}, endSignal = 'SIGKILL' } = {}) {
  const { PATH = '', HOME = '' } = process.env;
  const pinned = core !== null && canPin;
  const child = spawn(
    pinned ? 'taskset' : command,
    pinned ? ['-c', String(core), command, ...args.map(String)] : args.map(String),
    { env: { PATH, HOME, ...env }, stdio: ['pipe', 'pipe', 'pipe'] },
  );
  return new Started(command, child, core, endSignal);
}

/** A started process and its lines on stdout and stderr. */
class Started {
  #unread = [];
  #events = new EventEmitter().setMaxListeners(0);
  #ended;
  /** Why the process could not start, or how it ended; `null` while it runs. */
  #end = null;

  constructor(command, child, core, endSignal) {
    this.command = command;
    this.child = child;
    this.core = core;
    this.endSignal = endSignal;
    running.add(this);
    child.stdin.on('error', () => undefined);
    for (const stream of [child.stdout, child.stderr]) {
      createInterface({ input: stream }).on('line', (line) => this.#take(line));
    }
    this.#ended = new Promise((resolve) => {
      const end = (how) => {
        running.delete(this);
        this.#end ??= how;
        this.#events.emit('change');
        resolve();
      };
      child.once('error', (error) => end(error.message));
      child.once('close', (code, signal) => end(signal ?? `exit code ${code}`));
    });
  }

  get pid() {
    return this.child.pid;
  }

  #take(line) {
    if (this.#unread.push(line) > LINES_KEPT) this.#unread.shift();
    this.#events.emit('change');
  }

  /** Resolves with the next line for which `wanted` is true; skips the lines before. */
  async line(wanted, limitMs = 60_000) {
    const deadlineMs = Date.now() + limitMs;
    const passed = [];
    for (;;) {
      while (this.#unread.length > 0) {
        const line = this.#unread.shift();
        if (wanted(line)) return line;
        passed.push(line);
      }
      this.#orFail(passed);
      const leftMs = deadlineMs - Date.now();
      if (leftMs <= 0) throw new Error(`${this.command} did not answer in ${limitMs} ms:\n${passed.join('\n')}`);
      const timer = setTimeout(() => this.#events.emit('change'), leftMs);
      await once(this.#events, 'change');
      clearTimeout(timer);
    }
  }

  /** Resolves with the next line that is JSON with this property, parsed. */
  async record(property, limitMs) {
    const line = await this.line((text) => text.startsWith('{') && property in parsed(text), limitMs);
    return parsed(line);
  }

  /** @throws Error with its output if it is not running any more */
  alive() {
    this.#orFail(this.#unread);
  }

  #orFail(lines) {
    if (this.#end !== null) throw new Error(`${this.command} ended (${this.#end}):\n${lines.slice(-20).join('\n')}`);
  }

  /** Writes a line to its stdin. */
  send(line) {
    this.child.stdin.write(`${line}\n`);
  }

  async end() {
    if (this.#end !== null) return;
    this.child.kill(this.endSignal);
    const timer = setTimeout(() => this.child.kill('SIGKILL'), END_LIMIT_MS);
    await this.#ended;
    clearTimeout(timer);
  }
}

function parsed(line) {
  try {
    return JSON.parse(line) ?? {};
  } catch {
    return {};
  }
}

import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { ROOT } from '../support/gateway-process.js';

/** A command of util-linux that sets the limits of a process, also of a running one. */
const PRLIMIT = 'prlimit';

/** @throws Error that names what the tests need to make writes fail */
export function needPrlimit(): void {
  if (process.platform === 'linux' && spawnSync(PRLIMIT, ['--version']).status === 0) return;
  throw new Error(
    'these tests make writes fail, for which they need Linux and prlimit of util-linux. ' +
      'On Debian or Ubuntu: apt-get install util-linux. Elsewhere: run them in a container of Linux.',
  );
}

export interface Committed {
  readonly kind?: string;
  readonly error?: string;
  readonly available: boolean;
}

export interface Found {
  readonly once: number;
  readonly never: number;
}

/** Drives store-in-child.mjs: an embedded store that can be killed, and whose disk can be made full. */
export class StoreProcess {
  readonly #child: ChildProcess;
  readonly #lines: AsyncIterator<string, undefined>;
  readonly #closed: Promise<unknown>;

  /** @param fileBytesMax size of a file from which on writes fail, as they do when a disk is full */
  constructor(path: string, fileBytesMax?: number) {
    const node = [process.execPath, join(ROOT, 'test', 'faults', 'store-in-child.mjs'), path];
    const limit = fileBytesMax === undefined ? [] : [PRLIMIT, `--fsize=${fileBytesMax}:unlimited`];
    const [program, ...args] = [...limit, ...node];
    this.#child = spawn(program!, args, { stdio: ['pipe', 'pipe', 'ignore'] });
    this.#lines = createInterface({ input: this.#child.stdout! })[Symbol.asyncIterator]();
    this.#closed = once(this.#child, 'close');
  }

  async commit(posts: number): Promise<Committed> {
    return (await this.#ask(`commit ${posts}`)) as Committed;
  }

  async again(): Promise<Committed> {
    return (await this.#ask('again')) as Committed;
  }

  async read(): Promise<Found> {
    return (await this.#ask('read')) as Found;
  }

  async breakHeader(): Promise<void> {
    const answer = (await this.#ask('break-header')) as { broken: boolean };
    if (!answer.broken) throw new Error('the file was not taken away');
  }

  /** Lets writes succeed again. */
  makeSpace(): void {
    execFileSync(PRLIMIT, ['--pid', String(this.#child.pid), '--fsize=unlimited:unlimited']);
  }

  /** Ends the process, at once or after it has closed its store. @returns its exit code */
  async end(how: 'killed' | 'closed'): Promise<number | null> {
    if (how === 'killed') this.#child.kill('SIGKILL');
    else this.#child.stdin!.end();
    await this.#closed;
    return this.#child.exitCode;
  }

  async #ask(line: string): Promise<unknown> {
    this.#child.stdin!.write(`${line}\n`);
    const answer = await this.#lines.next();
    if (answer.done === true) throw new Error(`the store ended at "${line}", by ${String(this.#child.signalCode)}`);
    return JSON.parse(answer.value);
  }
}

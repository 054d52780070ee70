import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { ROOT } from '../support/gateway-process.js';

/** A command of util-linux that sets the limits of a process, also of a running one. */
const PRLIMIT = 'prlimit';

/** @throws Error that names the tools with which the tests make writes fail */
export function needPrlimit(): void {
  if (process.platform === 'linux' && spawnSync(PRLIMIT, ['--version']).status === 0) return;
  throw new Error(
    'these tests need Linux and prlimit of util-linux to make writes fail. ' +
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

/** Controls store-in-child.mjs: an embedded store that can be killed, and whose disk can be made full. */
export class StoreProcess {
  readonly #child: ChildProcess;
  readonly #lines: AsyncIterator<string, undefined>;
  readonly #closed: Promise<unknown>;

  /** @param fileBytesMax size of a file at which writes fail, as they do when a disk is full */
  constructor(path: string, fileBytesMax?: number) {
    const node = [process.execPath, join(ROOT, 'test', 'faults', 'store-in-child.mjs'), path];
    const limit = fileBytesMax === undefined ? [] : [PRLIMIT, `--fsize=${fileBytesMax}:unlimited`];
    const [program, ...args] = [...limit, ...node];
    this.#child = spawn(program!, args, { stdio: ['pipe', 'pipe', 'ignore'] });
    this.#lines = createInterface({ input: this.#child.stdout! })[Symbol.asyncIterator]();
    this.#closed = once(this.#child, 'close');
  }

  async commit(posts: number): Promise<Committed> {
    return (await this.#send(`commit ${posts}`)) as Committed;
  }

  async commitAgain(): Promise<Committed> {
    return (await this.#send('commit-again')) as Committed;
  }

  async read(): Promise<Found> {
    return (await this.#send('read')) as Found;
  }

  async breakHeader(): Promise<void> {
    const reply = (await this.#send('break-header')) as { broken: boolean };
    if (!reply.broken) throw new Error('the file descriptor was not replaced');
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

  async #send(line: string): Promise<unknown> {
    this.#child.stdin!.write(`${line}\n`);
    const reply = await this.#lines.next();
    if (reply.done === true) throw new Error(`the store ended at "${line}", by ${String(this.#child.signalCode)}`);
    return JSON.parse(reply.value);
  }
}

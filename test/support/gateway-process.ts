import type { ChildProcess } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { Processes } from './processes.js';

/** A gateway as an operator runs it: the built program in its own process. */
export interface GatewayProcess {
  readonly url: string;
  readonly port: number;
  readonly dataDir: string;
  readonly pid: number;
  /** Lines of its output so far. */
  readonly log: readonly string[];
  /** Sends the signal and resolves with the exit code: `null` if the signal ended it. */
  kill(signal: NodeJS.Signals): Promise<number | null>;
}

export const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const MAIN = join(ROOT, 'dist', 'main.js');
const STRETCHED_TIME = new URL('stretched-time.mjs', import.meta.url).href;
/** Start of the stretched time, the same for all gateways of this test file, so that their clocks agree. */
const STRETCHED_SINCE_MS = Date.now();
/** A guard against hanging: a boot takes some seconds if many gateways start at once. */
const READY_MS = 120_000;

export interface GatewayOptions {
  /**
   * Factor by which time passes slower in the gateway, so that its deadlines last longer; 1 by default. For tests of
   * behaviour before a deadline that a slow machine could reach. Redis keeps true time: its leases (5 s for viewers,
   * renewed every second) are not stretched, so use at most 3 for a gateway on Redis. Below 1 time passes faster, for
   * tests that would only wait: then no client may depend on the gateway's deadlines.
   */
  readonly timeScale?: number;
  /** Arguments of the command line; none by default. */
  readonly args?: readonly string[];
}

const processes = new Processes();

/**
 * Starts `dist/main.js` on a free port of 127.0.0.1 and resolves when it listens. `env` overrides its environment, which
 * otherwise has only PATH and HOME of this process, so that no setting of the developer gets in. Without DATA_DIR it gets
 * a new directory, which exists until `stopAll`: a second gateway can use it.
 */
export async function startGateway(
  env: Record<string, string> = {},
  { timeScale = 1, args = [] }: GatewayOptions = {},
): Promise<GatewayProcess> {
  if (!existsSync(MAIN)) throw new Error('dist/main.js is missing: run `npm run build` first');
  const dataDir = env['DATA_DIR'] ?? (await processes.newDir());
  const { PATH = '', HOME = '' } = process.env;
  const stretched = stretchedTime(timeScale);
  const { child, closed } = processes.start(process.execPath, [...stretched.args, MAIN, ...args], {
    cwd: ROOT,
    env: { PATH, HOME, HOST: '127.0.0.1', PORT: '0', ...stretched.env, ...env, DATA_DIR: dataDir },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const log: string[] = [];
  const url = await readListeningUrl(child, closed, log);
  return {
    url,
    port: Number(new URL(url).port),
    dataDir,
    pid: child.pid!,
    log,
    async kill(signal) {
      child.kill(signal);
      await closed;
      return child.exitCode;
    },
  };
}

/** Arguments and environment that stretch the time of a Node.js process. */
export function stretchedTime(timeScale: number): { args: readonly string[]; env: Record<string, string> } {
  if (timeScale === 1) return { args: [], env: {} };
  return {
    args: ['--import', STRETCHED_TIME],
    env: { TIME_SCALE: String(timeScale), TIME_SCALE_SINCE_MS: String(STRETCHED_SINCE_MS) },
  };
}

/** Ends all gateways of this test file and removes their directories. For `afterAll`. */
export async function stopAll(): Promise<void> {
  await processes.end();
}

/** Resolves with the URL in the record `{"msg":"listening","url":…}`; collects the gateway's output in `log`. */
async function readListeningUrl(child: ChildProcess, closed: Promise<unknown>, log: string[]): Promise<string> {
  const { promise, resolve, reject } = makePromise<string>();
  const fail = (what: string): void => reject(new Error(`the gateway ${what}\n${log.join('\n')}`));
  createInterface({ input: child.stderr! }).on('line', (line) => log.push(line));
  createInterface({ input: child.stdout! }).on('line', (line) => {
    log.push(line);
    const url = parseUrl(line);
    if (url !== undefined) resolve(url);
  });
  const timer = setTimeout(() => fail(`was not listening after ${READY_MS} ms`), READY_MS);
  closed.then(
    () => fail(`ended before it listened, by ${child.signalCode ?? `exit code ${child.exitCode ?? 'unknown'}`}`),
    (error: unknown) => fail(`could not be started: ${String(error)}`),
  );
  try {
    return await promise;
  } catch (error) {
    child.kill('SIGKILL');
    throw error;
  } finally {
    clearTimeout(timer);
  }
}

function parseUrl(line: string): string | undefined {
  if (!line.includes('"listening"')) return undefined;
  try {
    const record: unknown = JSON.parse(line);
    if (typeof record !== 'object' || record === null || !('msg' in record) || !('url' in record)) return undefined;
    return record.msg === 'listening' && typeof record.url === 'string' ? record.url : undefined;
  } catch {
    return undefined;
  }
}

/** `Promise.withResolvers`, which Node 20 lacks. */
function makePromise<T>(): { promise: Promise<T>; resolve: (value: T) => void; reject: (reason: Error) => void } {
  let resolve!: (value: T) => void;
  let reject!: (reason: Error) => void;
  const promise = new Promise<T>((res, rej) => {
    resolve = res;
    reject = rej;
  });
  return { promise, resolve, reject };
}

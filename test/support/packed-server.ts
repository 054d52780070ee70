import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { promisify } from 'node:util';
import { ROOT } from './gateway-process.js';

const run = promisify(execFile);

/** Runs a program to its end. @throws Error with its output if it fails */
export async function runToEnd(program: string, args: readonly string[], cwd: string): Promise<string> {
  const { stdout } = await run(program, args, { cwd, env: ENVIRONMENT });
  return stdout;
}

const { PATH = '', HOME = '' } = process.env;
const ENVIRONMENT = { PATH, HOME };

/** Packs the built server into `directory`, as `npm publish` would. @returns the name of the file */
export async function packServer(directory: string): Promise<string> {
  const stdout = await runToEnd('npm', ['pack', '--silent', '--ignore-scripts', '--pack-destination', directory], ROOT);
  return stdout.trim();
}

/** A gateway started by a given command. */
export interface StartedServer {
  readonly url: string;
  /** Sends SIGTERM and resolves with the exit code. */
  stop(): Promise<number | null>;
}

/** Resolves when the command logs its URL. @throws Error with its output if it ends before */
export async function startServer(
  program: string,
  args: readonly string[],
  options: { cwd: string; env?: Record<string, string> },
): Promise<StartedServer> {
  const child = spawn(program, args, { cwd: options.cwd, env: { ...ENVIRONMENT, ...options.env } });
  const closed = once(child, 'close');
  const lines: string[] = [];
  child.stderr.on('data', (data: Buffer) => lines.push(String(data)));
  const listening = (async () => {
    for await (const line of createInterface({ input: child.stdout })) {
      lines.push(line);
      const url = /"url":"([^"]+)".*"msg":"listening"/.exec(line)?.[1];
      if (url !== undefined) return url;
    }
    throw new Error(`${program} ${args.join(' ')} ended:\n${lines.join('\n')}`);
  })();
  try {
    const url = await listening;
    child.stdout.resume();
    const stop = async (): Promise<number | null> => {
      child.kill('SIGTERM');
      await closed;
      return child.exitCode;
    };
    return { url, stop };
  } catch (error) {
    child.kill('SIGKILL');
    throw error;
  }
}

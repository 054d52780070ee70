import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { ROOT } from './gateway-process.js';

export interface CommandResult {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs `tallycast` with these arguments until it ends. `env` is all of its environment besides PATH. */
export async function runCommand(args: readonly string[], env: Record<string, string>): Promise<CommandResult> {
  const { PATH = '' } = process.env;
  const child = spawn(process.execPath, [join(ROOT, 'dist', 'main.js'), ...args], {
    env: { PATH, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const [stdout, stderr] = await Promise.all([text(child.stdout), text(child.stderr), once(child, 'close')]);
  return { status: child.exitCode, stdout, stderr };
}

import cluster from 'node:cluster';
import { readFileSync } from 'node:fs';
import * as nodeModule from 'node:module';
import { join } from 'node:path';
import { systemClock } from '../common/clock.js';
import { onEndSignal } from '../common/process-signals.js';
import { readSettings } from '../config/settings.js';
import { parseCommandLine } from './command-line.js';

/** The cache is beside the program's own files, because it contains code, and other users may write to shared directories. */
const COMPILE_CACHE = join(import.meta.dirname, 'compile-cache');

/** Runs the command. A wrong command line or setting prints one line and exits with code 1. */
export async function run(args: readonly string[], environment: NodeJS.ProcessEnv): Promise<void> {
  try {
    const command = parseCommandLine(args);
    if (command.kind === 'start') await start(environment, command.settings);
    else process.stdout.on('error', () => process.exit(1));
    if (command.kind === 'version') process.stdout.write(`${version()}\n`);
    if (command.kind === 'help') process.stdout.write((await import('./help.js')).helpText());
    if (command.kind === 'sink schema') {
      const { buildSinkSchema } = await import('./sink-schema.js');
      process.stdout.write(buildSinkSchema(readSettings({ ...environment, ...command.settings })));
    }
    if (command.kind === 'restore') {
      const { restore } = await import('../app/restore.js');
      await restore(readSettings({ ...environment, ...command.settings }), (line) => process.stdout.write(`${line}\n`));
    }
    if (command.kind === 'request') {
      const { runRemotely } = await import('./remote-command.js');
      const last = await runRemotely(command, command.url, environment, (line) => process.stdout.write(`${line}\n`));
      if (Number(last['drift'] ?? 0) > 0) process.exitCode = 1;
    }
  } catch (error) {
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
    process.exit(1);
  }
}

async function start(environment: NodeJS.ProcessEnv, flags: Readonly<Record<string, string>>): Promise<void> {
  // The first process of a container has no default handlers of signals. The gateway replaces this one by its drain.
  onEndSignal(() => process.exit(0));
  const settings = readSettings({ ...environment, ...flags });
  useCompileCache();
  if (settings.sinkUrls.length > 0 && cluster.isPrimary) {
    const { checkSinks } = await import('../sinks/start-sinks.js');
    await checkSinks({ ...settings, urls: settings.sinkUrls, clock: systemClock, warn: () => undefined });
  }
  if (settings.workers > 1 && cluster.isPrimary) {
    const { runWorkers } = await import('../workers/primary.js');
    await runWorkers(settings, flags);
  } else {
    // Imported here, because the primary of several workers runs no gateway.
    const { bootstrap } = await import('../app/bootstrap.js');
    await bootstrap(settings);
  }
}

/** Node 22.1 and later can keep compiled code between boots, which saves a sixth of the CPU of a boot. */
function useCompileCache(): void {
  const { enableCompileCache } = nodeModule as { enableCompileCache?: (directory: string) => unknown };
  enableCompileCache?.(COMPILE_CACHE);
}

function version(): string {
  const manifest = readFileSync(join(import.meta.dirname, '..', 'package.json'), 'utf8');
  return (JSON.parse(manifest) as { version: string }).version;
}

import { parseArgs } from 'node:util';
import { Control } from './control.js';
import { Drill } from './drill.js';
import { DrillError } from './processes.js';
import { Deployment } from './regions.js';
import { Screen } from './screen.js';
import { PHASES, PROMISED_MS } from './script.js';

const NOT_EXACT = 1;
const NOT_RUN = 2;
const INTERRUPTED = 130;
const SECONDS = { min: 4, max: 600, default: 20 };
const HELP = `npm run drill -- [options]
Three regions count, are cut off from each other, and have to agree within ${PROMISED_MS / 1_000} s of being connected again.

  --seconds  duration of all phases together (${SECONDS.min} to ${SECONDS.max}, ${SECONDS.default} by default)
  --redis    use a Redis for each region instead of an embedded store
  --page     no drill: pages on which you pull the cables and kill gateways yourself, until Ctrl-C

The exit code is 0 if they agreed exactly and in time, 1 if not, 2 if the drill failed.
`;

interface Options {
  readonly seconds: number;
  readonly redis: boolean;
  readonly page: boolean;
}

/** @returns the options, or null for `--help`. @throws DrillError */
function parse(args: string[]): Options | null {
  const flag = { type: 'boolean', default: false } as const;
  const options = { seconds: { type: 'string' }, redis: flag, page: flag, help: { ...flag, short: 'h' } } as const;
  try {
    const { seconds: text = String(SECONDS.default), redis, page, help } = parseArgs({ args, options }).values;
    const seconds = Number(text);
    if (!/^\d+$/.test(text) || seconds < SECONDS.min || seconds > SECONDS.max)
      throw new Error(`--seconds must be a whole number from ${SECONDS.min} to ${SECONDS.max}`);
    return help ? null : { seconds, redis, page };
  } catch (error) {
    throw new DrillError(`${(error as Error).message}\n\n${HELP}`);
  }
}

/** @returns the exit code */
async function main(): Promise<number> {
  const options = parse(process.argv.slice(2));
  if (options === null) {
    process.stdout.write(HELP);
    return 0;
  }
  const deployment = await Deployment.make();
  const interrupted = new Promise<number>((resolve) => {
    let interrupts = 0;
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
      // The handler stays until the end, because an unhandled signal would end the process before the cleanup.
      process.on(signal, () => {
        interrupts += 1;
        if (interrupts > 1) process.exit(INTERRUPTED);
        resolve(INTERRUPTED);
      });
    }
  });
  try {
    return await Promise.race([run(deployment, options), deployment.failed, interrupted]);
  } finally {
    await deployment.end();
  }
}

async function run(deployment: Deployment, { seconds, redis, page }: Options): Promise<number> {
  process.stdout.write(`Starting three gateways, each with its own ${redis ? 'Redis' : 'embedded store'}\n`);
  await deployment.start(redis);
  if (page) return await servePage(deployment);
  const results = await new Drill(deployment, new Screen(process.stdout), (seconds * 1_000) / PHASES.length).play();
  const isKept = results.every(({ agreedMs }) => agreedMs !== null && agreedMs <= PROMISED_MS);
  process.stdout.write(
    isKept ? '\nExact: all three show the acknowledged counts.\n' : '\nNot exact, or not in time.\n',
  );
  return isKept ? 0 : NOT_EXACT;
}

/** Serves the page until Ctrl-C. */
async function servePage(deployment: Deployment): Promise<never> {
  const control = new Control(deployment);
  const port = await control.port();
  const [first] = deployment.regions;
  for (const { name, url } of deployment.regions) process.stdout.write(`  ${name}  ${url}\n`);
  process.stdout.write(
    `Pull their cables at ${first!.url}/regions/?drill=${port}\nKill one with -9 at ${first!.url}/?drill=${port}\nCtrl-C ends them.\n`,
  );
  return await new Promise<never>(() => undefined);
}

try {
  // Requests to processes that have ended may still be open, so exit explicitly.
  process.exit(await main());
} catch (error) {
  if (!(error instanceof DrillError)) throw error;
  process.stderr.write(`${error.message}\n`);
  process.exit(NOT_RUN);
}

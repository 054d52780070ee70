import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { ROOT, stretchedTime } from '../support/gateway-process.js';
import { Processes } from '../support/processes.js';

const processes = new Processes();
/** The drill fails if regions take longer than 2 s of its time to agree, so its time is stretched. Its gateways keep true time. */
const PATIENT = stretchedTime(4);
/** Directory for the drills' own directories. */
let dir: string;

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'tallycast-test-'));
});

afterAll(async () => {
  await processes.end();
  await rm(dir, { recursive: true });
});

function drill(args: readonly string[], env: Record<string, string> = {}) {
  const program = join(ROOT, 'dist', 'drill', 'main.js');
  const { child, closed } = processes.start(process.execPath, [...PATIENT.args, program, ...args], {
    env: { ...process.env, ...env, ...PATIENT.env, TMPDIR: dir },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const lines: string[] = [];
  const outputs = [child.stdout!, child.stderr!].map((input) => createInterface({ input }));
  for (const output of outputs) output.on('line', (line) => lines.push(line));
  return { child, closed, lines, out: outputs[0]! };
}

describe('npm run drill', () => {
  it('npm run drill ends with 0 when all regions have agreed after each cut, and leaves nothing behind', async () => {
    const { child, closed, lines } = drill(['--seconds', '4']);
    await closed;
    expect({ code: child.exitCode, last: lines.at(-1) }).toEqual({
      code: 0,
      last: 'Exact: all three show the acknowledged counts.',
    });
    expect(lines.filter((line) => line.includes('✓'))).toHaveLength(4);
    expect(await readdir(dir)).toEqual([]);
  });

  it.each(['SIGINT', 'SIGTERM'] as const)(
    'npm run drill -- --page ends by %s with its gateways and their directories',
    async (signal) => {
      const { child, closed, lines, out } = drill(['--page']);
      for await (const line of out) if (line.includes('/regions/?drill=')) break;
      const urls = lines.flatMap((line) => /^ {2}\w+ {2}(http\S+)$/.exec(line)?.[1] ?? []);
      expect(urls).toHaveLength(3);
      for (const url of urls) expect((await fetch(`${url}/healthz`)).status).toBe(200);
      child.kill(signal);
      await closed;
      expect(child.exitCode).toBe(130);
      for (const url of urls) await expect(fetch(`${url}/healthz`)).rejects.toThrow('fetch failed');
      expect(await readdir(dir)).toEqual([]);
    },
  );

  it.each([
    [['--redis'], 'no-such-program cannot be started. Install Redis 7 (apt-get install redis-server'],
    [['--seconds', '1'], '--seconds must be a whole number from 4 to 600'],
    [['--regions', '4'], "Unknown option '--regions'"],
  ])('npm run drill ends with 2 and an explanation if it cannot run: %j', async (args, message) => {
    const { child, closed, lines } = drill(args, { REDIS_SERVER_BIN: 'no-such-program' });
    await closed;
    expect(child.exitCode).toBe(2);
    expect(lines.join('\n')).toContain(message);
    expect(await readdir(dir)).toEqual([]);
  });
});

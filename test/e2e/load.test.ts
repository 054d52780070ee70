import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import type { ChildProcess } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { freePort } from '../support/free-port.js';
import { type GatewayProcess, ROOT, startGateway, stopAll } from '../support/gateway-process.js';
import { Processes } from '../support/processes.js';
import { startProxy, type TcpProxy } from '../support/tcp-proxy.js';
import { until } from '../support/until.js';

const LIMIT_MS = 60_000;
/** How a WebSocket's text frame begins. */
const TEXT_FRAME = 0x81;
/** Each so many answers and frames one connection is cut, without them. */
const CUT_EACH = 150;
const SMALL = ['--viewers', '40', '--likes', '100', '--views', '200', '--posts', '8', '--duration', '2', '--ramp', '0'];

interface Ended {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

interface Result {
  readonly verdict: { readonly isExact: boolean; readonly lost: number; readonly doubled: number };
  readonly shown: { readonly stale: number; readonly read: number };
  readonly summary: {
    readonly acknowledged: number;
    readonly duplicates: number;
    readonly frames: number;
    readonly errors: Record<string, number>;
    readonly toAnswer: { readonly samples: number };
    readonly toScreen: { readonly samples: number };
  };
}

const processes = new Processes();

function start(args: readonly string[]): { child: ChildProcess; ended: Promise<Ended> } {
  const program = join(ROOT, 'dist', 'load', 'main.js');
  const { child, closed } = processes.start(process.execPath, [program, ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let [stdout, stderr] = ['', ''];
  child.stdout!.on('data', (chunk: Buffer) => (stdout += chunk.toString()));
  child.stderr!.on('data', (chunk: Buffer) => (stderr += chunk.toString()));
  return { child, ended: closed.then(() => ({ code: child.exitCode, stdout, stderr })) };
}

describe('the load generator', () => {
  let gateway: GatewayProcess;
  let proxy: TcpProxy | null = null;

  beforeAll(async () => {
    gateway = await startGateway();
  }, LIMIT_MS);

  afterEach(async () => {
    await proxy?.close();
    proxy = null;
  });

  afterAll(async () => {
    await processes.end();
    await stopAll();
  });

  async function views(post: string): Promise<number> {
    const response = await fetch(`${gateway.url}/v1/${post}/views`);
    return ((await response.json()) as { count: number }).count;
  }

  it(
    'finds a gateway exact, and tells so on the terminal, as JSON and as a page',
    async () => {
      const dir = await processes.newDir();
      const [json, page] = [join(dir, 'result.json'), join(dir, 'report.html')];
      const threads = ['--threads', '2', '--watch', '2'];
      const { ended } = start(['--url', gateway.url, ...SMALL, ...threads, '--json', json, '--report', page]);
      const { code, stdout, stderr } = await ended;
      expect({ code, stdout, stderr }).toMatchObject({ code: 0, stdout: expect.stringContaining('\nEXACT: ') });
      const result = JSON.parse(await readFile(json, 'utf8')) as Result;
      expect(result).toMatchObject({
        verdict: { isExact: true, lost: 0, doubled: 0 },
        shown: { stale: 0, read: 40 },
        summary: { acknowledged: 600, errors: {}, toAnswer: { samples: 600 } },
      });
      expect(result.summary.frames).toBeGreaterThan(0);
      expect(result.summary.toScreen.samples).toBeGreaterThan(0);
      const html = await readFile(page, 'utf8');
      expect(html).toContain('<svg');
      expect(html.replaceAll(gateway.url, '')).not.toMatch(/https?:|<script|<link|NaN|undefined/);
    },
    LIMIT_MS,
  );

  it(
    'sends again what was not answered when connections are cut, so that all is exact',
    async () => {
      let texts = 0;
      proxy = await startProxy({ port: gateway.port });
      proxy.onReply = (chunk) => (chunk[0] === TEXT_FRAME && ++texts % CUT_EACH === 0 ? 'drop' : 'pass');
      const json = join(await processes.newDir(), 'result.json');
      const { ended } = start(['--url', `http://127.0.0.1:${proxy.port}`, ...SMALL, '--json', json]);
      const { code, stdout, stderr } = await ended;
      expect({ code, stdout, stderr }).toMatchObject({ code: 0, stdout: expect.stringContaining('\nEXACT: ') });
      const { summary, shown } = JSON.parse(await readFile(json, 'utf8')) as Result;
      expect(summary.errors['disconnected']).toBeGreaterThan(1);
      expect(summary.duplicates).toBeGreaterThan(0);
      expect(shown.stale).toBe(0);
    },
    LIMIT_MS,
  );

  it(
    'notices a view that it did not make, and names the post',
    async () => {
      const { ended } = start(['--url', gateway.url, ...SMALL, '--prefix', 'meddled']);
      await until(async () => (await views('meddled-3')) > 0, 'the load has begun');
      const headers = { 'Content-Type': 'application/json' };
      const body = '{"action":"increment"}';
      const put = await fetch(`${gateway.url}/v1/meddled-3/views`, { method: 'PUT', headers, body });
      expect(put.status).toBe(200);
      const { code, stdout } = await ended;
      expect(code).toBe(1);
      expect(stdout).toContain(
        '\nNOT EXACT: 600 operations acknowledged, 0 lost, 1 doubled\n  meddled-3: views changed',
      );
    },
    LIMIT_MS,
  );

  it(
    'ends early when it is interrupted, with a verdict about what was done',
    async () => {
      const { child, ended } = start(['--url', gateway.url, ...SMALL, '--duration', '3600', '--prefix', 'stopped']);
      await until(async () => (await views('stopped-0')) > 0, 'the load has begun');
      child.kill('SIGINT');
      expect(await ended).toMatchObject({ code: 0, stdout: expect.stringContaining('\nEXACT: ') });
    },
    LIMIT_MS,
  );

  it.each([
    ['an option that is wrong', ['--viewers', 'many'], /^--viewers must be [^\n]+\n$/],
    ['a file that cannot be written', ['--json', '/nowhere/at/all.json'], /^--json must be [^\n]+\n$/],
  ])('answers %s with one line and exit code 2', async (_, args, line) => {
    const { code, stderr } = await start(args).ended;
    expect({ code, stderr }).toMatchObject({ code: 2, stderr: expect.stringMatching(line) });
  });

  it('says in one line that nobody is there', async () => {
    const url = `http://127.0.0.1:${await freePort()}`;
    const { code, stderr } = await start(['--url', url, ...SMALL]).ended;
    expect({ code, stderr }).toEqual({ code: 2, stderr: `${url} does not answer: ECONNREFUSED\n` });
  });
});

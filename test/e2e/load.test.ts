import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import type { ChildProcess } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { freePort } from '../support/free-port.js';
import { type GatewayProcess, ROOT, startGateway, stopAll } from '../support/gateway-process.js';
import { Processes } from '../support/processes.js';
import { startProxy, type TcpProxy } from '../support/tcp-proxy.js';
import { until } from '../support/until.js';

/** Share of acknowledgements and frames that are lost together with the connection. */
const LOST_ONE_IN = 10;
const SMALL = ['--viewers', '40', '--likes', '100', '--views', '200', '--posts', '8', '--duration', '1', '--ramp', '0'];
/** Long enough to be interrupted. */
const ENDLESS = ['--duration', '3600'];
/** Each way: longer than a thread takes to start. */
const SLOW_MS = 250;
const SECRET = 'a secret of thirty-two characters, or so';

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

function start(args: readonly string[], secret?: string): { child: ChildProcess; ended: Promise<Ended> } {
  const program = join(ROOT, 'dist', 'load', 'main.js');
  const { child, closed } = processes.start(process.execPath, [program, ...args], {
    env: secret === undefined ? {} : { JWT_SECRET: secret },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let [stdout, stderr] = ['', ''];
  child.stdout!.on('data', (chunk: Buffer) => (stdout += chunk.toString()));
  child.stderr!.on('data', (chunk: Buffer) => (stderr += chunk.toString()));
  return { child, ended: closed.then(() => ({ code: child.exitCode, stdout, stderr })) };
}

describe('the load generator', () => {
  let gateway: GatewayProcess;
  let guarded: GatewayProcess;
  let proxy: TcpProxy | null = null;

  beforeAll(async () => {
    const access = { JWT_SECRET: SECRET, REQUIRE_TOKEN_TO_READ: 'true', ACTOR_KEYS: 'int64' };
    [gateway, guarded] = await Promise.all([startGateway(), startGateway(access)]);
  });

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

  it('the load generator reports an exact gateway on the terminal, as JSON and as a page', async () => {
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
      summary: { acknowledged: 300, errors: {}, toAnswer: { samples: 300 } },
    });
    expect(result.summary.frames).toBeGreaterThan(0);
    expect(result.summary.toScreen.samples).toBeGreaterThan(0);
    const html = await readFile(page, 'utf8');
    expect(html).toContain('<svg');
    expect(html.replaceAll(gateway.url, '')).not.toMatch(/https?:|<script|<link|NaN|undefined/);
  });

  it('the load generator resends unacknowledged operations when connections are cut, so that all counts are exact', async () => {
    const passed = { answers: 0, frames: 0 };
    proxy = await startProxy({ port: gateway.port });
    proxy.onReply = (chunk) => {
      const isLost =
        (chunk.includes('"applied":') && ++passed.answers % LOST_ONE_IN === 0) ||
        (chunk.includes('["counts",') && ++passed.frames % LOST_ONE_IN === 0);
      return isLost ? 'drop' : 'pass';
    };
    const json = join(await processes.newDir(), 'result.json');
    const { ended } = start(['--url', `http://127.0.0.1:${proxy.port}`, ...SMALL, '--json', json]);
    const { code, stdout, stderr } = await ended;
    expect({ code, stdout, stderr }).toMatchObject({ code: 0, stdout: expect.stringContaining('\nEXACT: ') });
    const { summary, shown } = JSON.parse(await readFile(json, 'utf8')) as Result;
    expect(summary.errors['disconnected']).toBeGreaterThan(1);
    expect(summary.duplicates).toBeGreaterThan(0);
    expect(shown.stale).toBe(0);
  });

  it('the load generator opens no connection before the gateway has answered its first request', async () => {
    proxy = await startProxy({ port: gateway.port }, SLOW_MS);
    const { port } = proxy;
    const open: number[] = [];
    proxy.onReply = () => {
      open.push(proxy!.connections);
      return 'pass';
    };
    const { code, stdout, stderr } = await start(['--url', `http://127.0.0.1:${port}`, ...SMALL]).ended;
    expect({ code, stdout, stderr }).toMatchObject({ code: 0, stdout: expect.stringContaining('\nEXACT: ') });
    expect(open[0]).toBe(1);
  });

  it('the load generator detects a view of another client and names the post', async () => {
    const { child, ended } = start(['--url', gateway.url, ...SMALL, ...ENDLESS, '--prefix', 'meddled']);
    await until(async () => (await views('meddled-3')) > 0, 'the load has begun');
    const headers = { 'Content-Type': 'application/json' };
    const body = '{"action":"increment"}';
    const put = await fetch(`${gateway.url}/v1/meddled-3/views`, { method: 'PUT', headers, body });
    expect(put.status).toBe(200);
    child.kill('SIGINT');
    const { code, stdout } = await ended;
    expect(code).toBe(1);
    expect(stdout).toMatch(/\nNOT EXACT: .+, 0 lost, 1 doubled\n {2}meddled-3: views changed by/);
  });

  it('the load generator ends early when it is interrupted, with a verdict on the operations so far', async () => {
    const { child, ended } = start(['--url', gateway.url, ...SMALL, ...ENDLESS, '--prefix', 'stopped']);
    await until(async () => (await views('stopped-0')) > 0, 'the load has begun');
    child.kill('SIGINT');
    expect(await ended).toMatchObject({ code: 0, stdout: expect.stringContaining('\nEXACT: ') });
  });

  it('the load generator gives each actor a token if it has the secret, and reports a missing secret otherwise', async () => {
    const args = ['--url', guarded.url, ...SMALL];
    const refused = `${guarded.url} answers 401 to /v1/counts; set JWT_SECRET as the gateway has it\n`;
    expect(await start(args).ended).toMatchObject({ code: 2, stderr: refused });
    expect(await start(args, SECRET).ended).toMatchObject({ code: 0, stdout: expect.stringContaining('\nEXACT: ') });
  });

  it.each([
    ['an option that is wrong', ['--viewers', 'many'], /^--viewers must be [^\n]+\n$/],
    ['a file that cannot be written', ['--json', '/nowhere/at/all.json'], /^--json must be [^\n]+\n$/],
  ])('the load generator answers %s with one line and exit code 2', async (_, args, line) => {
    const { code, stderr } = await start(args).ended;
    expect({ code, stderr }).toMatchObject({ code: 2, stderr: expect.stringMatching(line) });
  });

  it('the load generator reports an unreachable gateway in one line', async () => {
    const url = `http://127.0.0.1:${await freePort()}`;
    const { code, stderr } = await start(['--url', url, ...SMALL]).ended;
    expect({ code, stderr }).toEqual({ code: 2, stderr: `${url} does not answer: ECONNREFUSED\n` });
  });
});

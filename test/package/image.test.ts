import { execFile } from 'node:child_process';
import { cp, mkdir, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { ROOT } from '../support/gateway-process.js';
import { runToEnd, startServer } from '../support/packed-server.js';

const SCALE = Number(process.env['TEST_SCALE'] ?? 1);

/** An instruction of the Dockerfile with its continuation lines. */
type Instruction = readonly [name: string, rest: string];

let directory: string;
let build: readonly Instruction[];
let runtime: readonly Instruction[];

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'tallycast-image-'));
  const text = (await readFile(join(ROOT, 'deploy', 'Dockerfile'), 'utf8')).replace(/^#.*\n/gm, '');
  const instructions = text
    .replaceAll('\\\n', '')
    .split('\n')
    .filter((line) => line !== '')
    .map((line): Instruction => /^(\w+) +(.*)$/.exec(line)!.slice(1) as [string, string]);
  const second = instructions.findIndex(([name], i) => name === 'FROM' && i > 0);
  build = instructions.slice(0, second);
  runtime = instructions.slice(second);
});

afterAll(() => rm(directory, { recursive: true, force: true }));

function instructionsNamed(stage: readonly Instruction[], name: string): string[] {
  return stage.filter(([one]) => one === name).map(([, rest]) => rest);
}

describe('the image', () => {
  it('the image uses the Node version of .nvmrc and runs as a user that is not root', async () => {
    const line = (await readFile(join(ROOT, '.nvmrc'), 'utf8')).trim();
    expect(instructionsNamed(build, 'FROM')).toEqual([`node:${line}-slim AS build`]);
    expect(instructionsNamed(runtime, 'FROM')).toEqual([`node:${line}-slim`]);
    expect(instructionsNamed(runtime, 'USER')).toEqual(['node']);
  });

  it('the image has all files of a gateway and no development packages', async () => {
    const app = join(directory, 'app');
    await mkdir(app);
    for (const file of ['package.json', 'package-lock.json']) await cp(join(ROOT, file), join(app, file));
    await cp(join(ROOT, 'dist'), join(app, 'dist'), { recursive: true });
    expect(instructionsNamed(runtime, 'COPY')).toEqual([
      'package.json package-lock.json ./',
      '--from=build /app/dist dist',
    ]);
    const [install, makeDirectory, ...others] = instructionsNamed(runtime, 'RUN');
    expect([makeDirectory, others]).toEqual(['install -d -o node -g node /data', []]);
    await runToEnd('sh', ['-c', `${install!} --prefer-offline`], app);
    await expect(runToEnd('npm', ['ls', 'jest'], app)).rejects.toThrow();

    const [command] = instructionsNamed(runtime, 'CMD');
    const [program, ...args] = JSON.parse(command!) as string[];
    const env = { NODE_ENV: 'production', PORT: '0', DATA_DIR: join(directory, 'data') };
    const server = await startServer(program!, args, { cwd: app, env });
    const { port } = new URL(server.url);
    const [health] = instructionsNamed(runtime, 'HEALTHCHECK').map(
      (rest) => JSON.parse(/CMD (.*)$/.exec(rest)![1]!) as string[],
    );
    const check = promisify(execFile)(health![0]!, health!.slice(1), { env: { ...process.env, PORT: port } });
    await expect(check).resolves.toMatchObject({ stderr: '' });
    expect(await server.stop()).toBe(0);
    await expect(
      promisify(execFile)(health![0]!, health!.slice(1), { env: { ...process.env, PORT: port } }),
    ).rejects.toThrow();
  });

  // The first stage equals a clean clone and build, which takes too long for each run.
  if (SCALE > 1) {
    it('the image builds in a clean folder by the commands of its first stage', async () => {
      const app = join(directory, 'build');
      await mkdir(app);
      await runToEnd('sh', ['-c', `git archive HEAD | tar -x -C '${app}'`], ROOT);
      for (const command of instructionsNamed(build, 'RUN')) await runToEnd('sh', ['-c', command], app);
      expect(await runToEnd('node', ['dist/main.js', '--version'], app)).toMatch(/^\d+\.\d+\.\d+\n$/);
    });
  }
});

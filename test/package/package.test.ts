import { execFile } from 'node:child_process';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { basename, dirname, join, relative } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { ROOT } from '../support/gateway-process.js';
import { installClient } from '../support/packed-client.js';

const run = promisify(execFile);
const TSC = join(ROOT, 'node_modules', 'typescript', 'bin', 'tsc');
/** A process that does not end by itself is killed after this time, and the test fails. */
const ALIVE_MS = 20_000;

let directory: string;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'tallycast-package-'));
  await installClient(directory);
});

afterAll(() => rm(directory, { recursive: true, force: true }));

/** Runs the script in a Node.js process without a DOM; resolves with its output. The process must end by itself. */
async function runInNode(script: string): Promise<unknown> {
  const args = ['--input-type=module', '--trace-warnings', '-e', script];
  const { stdout, stderr } = await run(process.execPath, args, { cwd: directory, timeout: ALIVE_MS });
  expect(stderr).toBe('');
  return JSON.parse(stdout);
}

/** Compiles the program. @returns the compiler's errors; an empty string if there are none */
async function compile(program: string, module: string, moduleResolution: string, kind = 'ts'): Promise<string> {
  const file = join(directory, `${moduleResolution}.${kind}`);
  const config = join(directory, `${moduleResolution}.json`);
  const compilerOptions = {
    ...{ module, moduleResolution, target: 'ES2022', lib: ['ES2022', 'DOM'], types: [], noEmit: true },
    ...{ strict: true, exactOptionalPropertyTypes: true, skipLibCheck: false },
  };
  await writeFile(join(directory, 'package.json'), '{"type":"module"}');
  await writeFile(file, program);
  await writeFile(config, JSON.stringify({ compilerOptions, files: [file] }));
  return run(process.execPath, [TSC, '-p', config]).then(
    ({ stdout }) => stdout,
    (error: unknown) => (error as { stdout: string }).stdout,
  );
}

describe('the packed package', () => {
  const MODULES = {
    'tallycast-client': ['LiveCountsError', 'createLiveCounts', 'postId'],
    'tallycast-client/http': ['LiveCountsError', 'createLiveCounts', 'postId'],
    'tallycast-client/widgets': ['LiveCountsError', 'connectWidgets', 'createLiveCounts', 'postId'],
    'tallycast-client/widgets/http': ['LiveCountsError', 'connectWidgets', 'createLiveCounts', 'postId'],
    'tallycast-client/react': ['LiveCountsProvider', 'useChoice', 'useLiveCounts', 'useView'],
  };

  test.each(Object.entries(MODULES))('Node.js without a DOM can import %s', async (name, exported) => {
    expect(await runInNode(`console.log(JSON.stringify(Object.keys(await import('${name}'))))`)).toEqual(exported);
  });

  test.each(['tallycast-client', 'tallycast-client/http', 'tallycast-client/react'] as const)(
    'require takes a build of %s for CommonJS with the same exports',
    async (name) => {
      const script = `
        import { createRequire } from 'node:module';
        const require = createRequire(process.cwd() + '/index.js');
        const isCommonJs = require.resolve('${name}').includes('/dist/cjs/');
        console.log(JSON.stringify([isCommonJs, Object.keys(require('${name}')).sort()]));`;
      expect(await runInNode(script)).toEqual([true, MODULES[name]]);
    },
  );

  test('the packed package has no dependencies, no sources and no tests', async () => {
    const root = join(directory, 'node_modules', 'tallycast-client');
    const manifest = JSON.parse(await readFile(join(root, 'package.json'), 'utf8')) as Record<string, unknown>;
    const ofGateway = JSON.parse(await readFile(join(ROOT, 'package.json'), 'utf8')) as Record<string, unknown>;
    expect(manifest['dependencies']).toBeUndefined();
    expect([manifest['version'], manifest['engines']]).toEqual([ofGateway['version'], ofGateway['engines']]);
    const files = await readdir(root, { recursive: true });
    expect(files).toContain(join('dist', 'tallycast.js'));
    expect(files.filter((file) => /(\.test\.|(?<!\.d)\.tsx?$)/.test(file))).toEqual([]);
  });

  test('.size-limit.json lists exactly the files that each module loads', async () => {
    const dist = join(directory, 'node_modules', 'tallycast-client', 'dist');
    const loaded = new Set<string>();
    const load = async (file: string): Promise<void> => {
      if (loaded.has(file)) return;
      loaded.add(file);
      const code = await readFile(file, 'utf8');
      for (const [, name] of code.matchAll(/(?:from|import)"(\.[^"]+)"/g)) await load(join(dirname(file), name!));
    };
    const limits = JSON.parse(await readFile(join(ROOT, '.size-limit.json'), 'utf8')) as { path: string | string[] }[];
    for (const { path } of limits.filter(({ path }) => Array.isArray(path))) {
      loaded.clear();
      await load(join(dist, basename(path[0]!)));
      const built = [...loaded].map((file) => join('client', 'dist', relative(dist, file)));
      expect(built.sort()).toEqual((path as string[]).sort());
    }
  });

  test('the React hooks render on a server without a connection and without keeping the process alive', async () => {
    let connections = 0;
    const server = createServer().on('connection', () => connections++);
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    const html = await runInNode(`
      import { createElement as h } from 'react';
      import { renderToString } from 'react-dom/server';
      import { createLiveCounts } from 'tallycast-client';
      import { LiveCountsProvider, useLiveCounts, useView } from 'tallycast-client/react';
      function Likes({ post }) {
        useView(post);
        const { counts, liked } = useLiveCounts(post);
        return h('b', { 'aria-pressed': liked }, String(counts?.likes));
      }
      const live = createLiveCounts('${url}');
      const app = h(LiveCountsProvider, { live }, h(Likes, { post: '42' }));
      console.log(JSON.stringify(renderToString(app)));
    `);
    await new Promise((resolve) => server.close(resolve));
    expect(html).toBe('<b aria-pressed="false">undefined</b>');
    expect(connections).toBe(0);
  });
});

describe('the types of the package', () => {
  const PROGRAM = `
    import { createLiveCounts, LiveCountsError, type Change, type LiveCounts, type Options } from 'tallycast-client';
    import { createLiveCounts as overHttp } from 'tallycast-client/http';
    import { connectWidgets } from 'tallycast-client/widgets';
    import { LiveCountsProvider, useLiveCounts, type LivePost } from 'tallycast-client/react';

    const options: Options = { actor: 'ann', token: async (refused) => (refused ? 'new' : 'old') };
    const live: LiveCounts = createLiveCounts('https://counts.example', options);
    connectWidgets(overHttp('https://counts.example'));
    live.post('42').subscribe(({ counts, delta, mine, source }: Change) => {
      const numbers: number[] = [counts.likes, counts.live, delta['likes'] ?? 0];
      const texts: readonly string[] = [...mine, source];
      console.log(numbers, texts);
    }, (error: LiveCountsError) => console.log(error.code === 'FORBIDDEN'));
    export function useLikes(post: string): number | undefined {
      const { counts, toggle }: LivePost = useLiveCounts(post);
      void toggle();
      return counts?.likes;
    }
    export const Provider: typeof LiveCountsProvider = LiveCountsProvider;
  `;

  test('the types are complete under bundler resolution, with all libraries checked', async () => {
    expect(await compile(PROGRAM, 'ESNext', 'Bundler')).toBe('');
  });

  test('the types are complete under Node.js resolution, and reject wrong calls', async () => {
    const wrong = "createLiveCounts(42).post('42').hug();\n";
    const found = (await compile(PROGRAM + wrong, 'NodeNext', 'NodeNext')).split('\n').filter((line) => line !== '');
    // Only the last line has errors.
    const last = `NodeNext.ts(${(PROGRAM + wrong).split('\n').length - 1},`;
    expect(found.filter((line) => !line.includes(last))).toEqual([]);
    expect(found.map((line) => /TS\d+/.exec(line)?.[0])).toEqual(['TS2345', 'TS2339']);
  });

  test('the types are complete for CommonJS under the resolution of Node.js 16', async () => {
    const program = PROGRAM.replace(/.*widgets.*\n|.*connectWidgets.*\n/g, '');
    expect(await compile(program, 'Node16', 'Node16', 'cts')).toBe('');
  });
});

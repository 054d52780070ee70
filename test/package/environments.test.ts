import { execFile } from 'node:child_process';
import { mkdtemp, rm, symlink, unlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { type GatewayProcess, ROOT, startGateway, stopAll } from '../support/gateway-process.js';
import { installClient } from '../support/packed-client.js';
import { LIMIT_MS } from '../support/until.js';

let directory: string;
let gateway: GatewayProcess;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'tallycast-environments-'));
  [gateway] = await Promise.all([startGateway({ ALLOWED_ORIGINS: 'http://localhost' }), installClient(directory)]);
  await writeFile(join(directory, 'package.json'), '{"type":"module"}');
});

afterAll(async () => {
  await stopAll();
  await rm(directory, { recursive: true, force: true });
});

/** Runs a program in a Node.js process that imports the packed client. @returns what it has printed, as JSON */
async function run(program: string, flags: readonly string[] = []): Promise<unknown> {
  const file = join(directory, 'program.mjs');
  await writeFile(file, program);
  const { stdout, stderr } = await promisify(execFile)(process.execPath, [...flags, file, gateway.url], {
    cwd: directory,
    timeout: LIMIT_MS,
  });
  expect(stderr).toBe('');
  return JSON.parse(stdout);
}

/** The globals of a page in jsdom, which lays nothing out, as test runners set them. */
const JSDOM_GLOBALS = `
import { createRequire } from 'node:module';
const { JSDOM } = createRequire('${join(ROOT, 'package.json')}')('jsdom');
const { fetch } = globalThis;
// Node's own fetch takes its own signals only.
globalThis.fetch = (url, { signal, ...init } = {}) => fetch(url, init);
const { window } = new JSDOM('<!doctype html><body></body>', { url: 'http://localhost/' });
for (const name of Object.getOwnPropertyNames(window))
  if (!(name in globalThis)) Object.defineProperty(globalThis, name, { get: () => window[name], configurable: true });
for (const name of ['addEventListener', 'removeEventListener', 'dispatchEvent']) globalThis[name] = window[name].bind(window);
// A DOM takes its own events and signals only.
for (const name of ['CustomEvent', 'AbortController', 'AbortSignal']) globalThis[name] = window[name];
`;

test('tags in jsdom keep their content until they have a number, and can be pressed', async () => {
  const outcome = await run(`${JSDOM_GLOBALS}
    const { connectWidgets, createLiveCounts } = await import('tallycast-client/widgets');
    connectWidgets(createLiveCounts(process.argv[2]));
    document.body.innerHTML = '<live-like post="a">Like</live-like> <live-count post="a" metric="views" count>12</live-count> <live-viewers post="a"></live-viewers>';
    const [like, count, viewers] = document.body.children;
    const until = async (is) => { while (!is()) await new Promise((resolve) => setTimeout(resolve, 10)); };
    const before = [like.textContent, like.shadowRoot.querySelector('button').ariaPressed, count.dataset.count];
    await until(() => like.dataset.count === '0' && count.dataset.count && viewers.dataset.count);
    like.shadowRoot.querySelector('button').click();
    await until(() => like.dataset.count === '1' && like.hasAttribute('data-on'));
    await until(() => localStorage.length === 1);
    console.log(JSON.stringify({ before, stored: Object.keys(localStorage) }));
    process.exit();
  `);
  expect(outcome).toEqual({ before: ['Like', null, null], stored: ['tallycast.actor'] });
});

/**
 * Runs in a context with the globals of React Native that the client may use: no document, location, crypto, storage or
 * TextDecoder, and a URL that has only its text. https://reactnative.dev/docs/javascript-environment
 */
const IN_REACT_NATIVE = `
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, resolve } from 'node:path';
import vm from 'node:vm';
import { WebSocket } from 'ws';
class URL { constructor(href) { this.href = href; } get origin() { throw new Error('not implemented'); } }
const { setTimeout, clearTimeout, queueMicrotask, fetch, AbortController, console } = globalThis;
const globals = { setTimeout, clearTimeout, queueMicrotask, fetch, AbortController, console, WebSocket, URL };
const context = vm.createContext({ ...globals, navigator: { product: 'ReactNative' } });
const load = (file) => {
  const module = { exports: {} };
  const requireFrom = (name) => (name === 'react' ? createRequire(import.meta.url)('react') : load(resolve(dirname(file), name)));
  vm.runInContext('(function (module, exports, require) {' + readFileSync(file, 'utf8') + '\\n})', context)(module, module.exports, requireFrom);
  return module.exports;
};
const dist = resolve('node_modules/tallycast-client/dist/cjs');
`;

test('the client and the hooks run with the globals of React Native', async () => {
  const outcome = await run(`${IN_REACT_NATIVE}
    const hooks = Object.keys(load(dist + '/react.js'));
    const live = load(dist + '/index.js').createLiveCounts(process.argv[2] + '/');
    const seen = new Promise((resolve) => live.post('native').subscribe(({ counts }) => counts.likes === 1 && resolve(counts.likes)));
    await live.post('native').like();
    console.log(JSON.stringify([await seen, hooks.includes('useLiveCounts'), live.gateway === process.argv[2]]));
    process.exit();
  `);
  expect(outcome).toEqual([1, true, true]);
});

test('the client runs in a Node.js without crypto', async () => {
  const outcome = await run(`
    delete globalThis.crypto;
    const { createLiveCounts } = await import('tallycast-client');
    const live = createLiveCounts(process.argv[2]);
    await live.post('without-crypto').like();
    console.log(JSON.stringify(typeof crypto));
    process.exit();
  `);
  expect(outcome).toBe('undefined');
});

test('the hooks and tags render on a server and hydrate in React 18 without a complaint of React', async () => {
  const modules = join(directory, 'node_modules');
  const installed = join(ROOT, 'node_modules');
  for (const name of ['react', 'react-dom']) {
    await unlink(join(modules, name));
    await symlink(join(installed, `${name}-18`), join(modules, name));
  }
  await symlink(join(installed, 'react-dom-18', 'node_modules', 'scheduler'), join(modules, 'scheduler'));
  await symlink(join(installed, 'loose-envify'), join(modules, 'loose-envify'));
  const program = `${JSDOM_GLOBALS}
    const complaints = [];
    for (const name of ['error', 'warn']) console[name] = (...texts) => complaints.push(texts.join(' '));
    const { createElement: h, StrictMode, version } = (await import('react')).default;
    const { hydrateRoot } = (await import('react-dom/client')).default;
    const { renderToString } = (await import('react-dom/server')).default;
    const { createLiveCounts } = await import('tallycast-client');
    await import('tallycast-client/widgets');
    const { LiveCountsProvider, useLiveCounts } = await import('tallycast-client/react');
    function Likes() {
      const { counts } = useLiveCounts('react-18');
      return h('p', null, String(counts?.likes), h('live-like', { post: 'react-18' }, 'Like'));
    }
    const live = createLiveCounts(process.argv[2]);
    const page = h(StrictMode, null, h(LiveCountsProvider, { live }, h(Likes)));
    document.body.innerHTML = '<main></main>';
    const root = document.querySelector('main');
    const html = (root.innerHTML = renderToString(page));
    hydrateRoot(root, page, { onRecoverableError: (error) => complaints.push(String(error)) });
    while (!root.textContent.startsWith('0')) await new Promise((resolve) => setTimeout(resolve, 10));
    console.log(JSON.stringify({ version, html, complaints }));
    process.exit();
  `;
  // Packages behind links would otherwise find the React beside their own files.
  const outcome = await run(program, ['--preserve-symlinks']);
  const html = '<p>undefined<live-like post="react-18">Like</live-like></p>';
  expect(outcome).toEqual({ version: '18.3.1', html, complaints: [] });
});

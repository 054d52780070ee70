import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { readMetrics } from '../support/metrics.js';
import { packServer, runToEnd, type StartedServer, startServer } from '../support/packed-server.js';

let directory: string;
let file: string;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'tallycast-server-'));
  file = await packServer(directory);
});

afterAll(() => rm(directory, { recursive: true, force: true }));

describe('the packed server', () => {
  let server: StartedServer;

  beforeAll(async () => {
    // Equals `npx ./tallycast-….tgz`; `npm ci` has filled npm's cache with the packages.
    const install = ['install', '--prefer-offline', '--no-audit', '--no-fund', '--loglevel=error', `./${file}`];
    await runToEnd('npm', install, directory);
    const command = join(directory, 'node_modules', '.bin', 'tallycast');
    server = await startServer(command, ['--port', '0'], { cwd: directory });
  });

  afterAll(async () => {
    expect(await server.stop()).toBe(0);
  });

  it.each([
    ['/', /<live-like/],
    ['/feed/', /<!doctype html>/i],
    ['/client/tallycast.js', /live-like/],
    ['/docs/', /swagger-ui/],
    ['/docs-json', /"openapi"/],
  ])('the packed server serves %s', async (path, content) => {
    const response = await fetch(server.url + path);
    expect([response.status, await response.text()]).toEqual([200, expect.stringMatching(content)]);
  });

  it('the packed server counts likes with all shortcuts on', async () => {
    const like = { method: 'PUT', headers: { 'Actor-Id': 'ann' }, body: '{"action":"increment"}' };
    for (let i = 0; i < 2; i++) {
      const response = await fetch(`${server.url}/v1/42/likes`, like);
      expect(await response.json()).toMatchObject({ count: 1 });
    }
    const page = await readMetrics(server.url);
    expect([...page].filter(([name, on]) => name.startsWith('tallycast_shortcut{') && on !== 1)).toEqual([]);
  });

  it('the packed server has the licences of the bundled packages', async () => {
    const installed = join(directory, 'node_modules', 'tallycast');
    const licences = await readFile(join(installed, 'dist', 'third-party-licenses.md'), 'utf8');
    for (const name of ['@nestjs/core', 'socket.io', 'ioredis', 'rxjs']) expect(licences).toContain(`## ${name} - `);
    expect(await readFile(join(installed, 'LICENSE'), 'utf8')).toContain('MIT License');
  });
});

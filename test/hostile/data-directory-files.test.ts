import { execFileSync } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { startGateway, stopAll } from '../support/gateway-process.js';

const REFUSED = 'the gateway ended before it listened, by exit code 1';

let home: string;

beforeAll(() => {
  home = mkdtempSync(join(tmpdir(), 'tallycast-hostile-'));
});

afterAll(async () => {
  await stopAll();
  rmSync(home, { recursive: true });
});

/** Output of a gateway that does not start on this directory. */
async function readFailure(path: string): Promise<string> {
  const message = await startGateway({ DATA_DIR: path }).then(
    ({ url }) => `it listens on ${url}`,
    (error: unknown) => (error as Error).message,
  );
  const [first, ...lines] = message.split('\n');
  expect(first).toBe(REFUSED);
  return lines.join('\n');
}

function readMode(path: string): string {
  return (statSync(path).mode & 0o777).toString(8);
}

describe('a data directory or a data file of the wrong type', () => {
  it('a gateway reports a pipe as data directory instead of waiting for the other end', async () => {
    const path = join(home, 'pipe');
    execFileSync('mkfifo', [path]);
    expect(await readFailure(path)).toBe(
      `DATA_DIR ${path}: it is not a directory; name one, or a path where nothing is yet`,
    );
  });

  it('a gateway reports a device as data directory', async () => {
    expect(await readFailure('/dev/null')).toBe(
      'DATA_DIR /dev/null: it is not a directory; name one, or a path where nothing is yet',
    );
  });

  it.each(['counters.mdb', 'counters.mdb-lock', 'lock', 'closed', 'visitor-secrets.json'])(
    'a gateway reports a pipe as %s',
    async (name) => {
      const path = mkdtempSync(join(home, 'has-'));
      execFileSync('mkfifo', [join(path, name)]);
      expect(await readFailure(path)).toBe(`DATA_DIR ${path}: its ${name} is not a file; remove it`);
    },
  );

  it('a gateway reports a socket as data file', async () => {
    const path = mkdtempSync(join(home, 's-'));
    const server = createServer();
    await new Promise<void>((resolve) => void server.listen(join(path, 'counters.mdb'), resolve));
    expect(await readFailure(path)).toBe(`DATA_DIR ${path}: its counters.mdb is not a file; remove it`);
    await new Promise((resolve) => void server.close(resolve));
  });
});

describe('the created directory', () => {
  it('the created directory is readable only by its user even with a permissive umask', async () => {
    const path = join(home, 'private', 'data');
    const before = process.umask(0);
    try {
      const gateway = await startGateway({ DATA_DIR: path });
      expect([readMode(path), ...readdirSync(path).map((name) => readMode(join(path, name)))]).toEqual([
        '700',
        ...readdirSync(path).map(() => '600'),
      ]);
      expect(gateway.log.filter((line) => line.includes('other users'))).toEqual([]);
      expect(await gateway.kill('SIGTERM')).toBe(0);
      expect(readdirSync(path)).toContain('closed');
      expect(new Set(readdirSync(path).map((name) => readMode(join(path, name))))).toEqual(new Set(['600']));
    } finally {
      process.umask(before);
    }
  });

  it('an existing directory keeps its open permissions, and the gateway warns with the command to close them', async () => {
    const path = join(home, 'open');
    mkdirSync(path);
    chmodSync(path, 0o755);
    const gateway = await startGateway({ DATA_DIR: path });
    expect(gateway.log.filter((line) => line.includes(`run chmod go= ${path}`))).toHaveLength(1);
    expect(readMode(path)).toBe('755');
    await gateway.kill('SIGTERM');
  });
});

import { afterAll, describe, expect, it } from '@jest/globals';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ROOT, startGateway, stopAll } from '../support/gateway-process.js';
import { readMetrics } from '../support/metrics.js';

afterAll(stopAll);

const MANIFEST = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as { version: string };

/** Runs the command until it ends. A command that starts a gateway would not end. */
function tallycast(...args: string[]): { status: number | null; stdout: string; stderr: string } {
  const { PATH = '' } = process.env;
  const env = { PATH, PORT: '0', DATA_DIR: '/dev/null/none', ADMIN_TOKEN: 'a-token-of-an-operator' };
  return spawnSync(process.execPath, [join(ROOT, 'dist', 'main.js'), ...args], { env, encoding: 'utf8' });
}

describe('the command tallycast', () => {
  it('the command tallycast prints its version', () => {
    for (const args of [['--version'], ['-v'], ['version']]) {
      expect(tallycast(...args)).toMatchObject({ status: 0, stdout: `${MANIFEST.version}\n`, stderr: '' });
    }
  });

  it('the command tallycast prints each setting with its default', () => {
    const { status, stdout } = tallycast('--help');
    expect(status).toBe(0);
    expect(stdout).toMatch(/^ +--port +3000 +Port to listen on/m);
    expect(stdout).toMatch(/^ +--metrics +likes:toggle,views:tally /m);
    expect(stdout).toMatch(/^ +--redis-url +- +Redis/m);
    expect(tallycast('help')).toMatchObject({ status: 0, stdout });
  });

  it.each([
    [['strat'], 'unknown command strat; did you mean start? See tallycast --help\n'],
    [['--prot', '4000'], 'unknown flag --prot; did you mean --port? See tallycast --help\n'],
    [['--versoin'], 'unknown flag --versoin; did you mean --version? See tallycast --help\n'],
    [['start', '4000'], 'unexpected 4000: a setting is given as --port 4000\n'],
    [['--port', '1', '--port=2'], '--port is given twice\n'],
    [['--port', '4000x'], 'PORT must be a whole number from 0 to 65535\n'],
    [['--port'], '--port needs a value: --port VALUE\n'],
    [['--jwt-secret', '--require-token-to-read'], '--jwt-secret needs a value: --jwt-secret VALUE\n'],
    [['--jwt-secret', ''], '--jwt-secret needs a value: --jwt-secret VALUE\n'],
    [['--data-dir='], '--data-dir needs a value: --data-dir VALUE\n'],
    [['--PORT', '4000'], 'unknown flag --PORT; did you mean --port? See tallycast --help\n'],
    [['--help=5'], '--help takes no value\n'],
    [['--tick-ms=5'], 'TICK_MS must be a whole number from 10 to 60000\n'],
    [['sink'], 'incomplete command sink; expected one of: sink schema, sink adopt, sink retry, sink off\n'],
    [
      ['milestones'],
      'incomplete command milestones; expected one of: milestones arm, milestones disarm, milestones list\n',
    ],
    [['milestones', 'arm', '42', 'views'], 'milestones arm needs POST METRIC AT, such as 42 views 1000000\n'],
    [['milestones', 'list', '42', '--url=x'], 'milestones list needs POST METRIC, such as 42 views\n'],
    [
      ['milestones', 'arm', '42', 'views', '9', '--mod=order'],
      'unknown flag --mod; did you mean --mode? See tallycast --help\n',
    ],
    [['milestones', 'arm', '42', 'views', '9', '--from'], '--from needs a value: --from VALUE\n'],
    [['milestones', 'list', '42', 'views', '7'], 'unexpected 7: a gateway is given as --url http://127.0.0.1:3000\n'],
    [['sink', 'adpot'], 'unknown command sink adpot; did you mean sink adopt? See tallycast --help\n'],
    [['sink', 'off', '--ulr', 'x'], 'unknown flag --ulr; did you mean --url? See tallycast --help\n'],
    [['sink', 'off', 'now'], 'unexpected now: a gateway is given as --url http://127.0.0.1:3000\n'],
    [
      ['sink', 'off', '--url=127.0.0.1'],
      '--url, or TALLYCAST_URL, must be the http or https URL of a gateway, such as http://127.0.0.1:3000\n',
    ],
    [
      ['sink', 'off', '--url=http://127.0.0.1:2'],
      'no connection to http://127.0.0.1:2 (ECONNREFUSED): name the gateway with --url or TALLYCAST_URL\n',
    ],
    [['--workers', '2'], 'WORKERS above 1 needs REDIS_URL: the embedded store is for one process\n'],
  ])('the command tallycast ends with one line and exit code 1 if its arguments are %j', (args, line) => {
    expect(tallycast(...args)).toMatchObject({ status: 1, stdout: '', stderr: line });
  });
});

describe('a Node that is too old', () => {
  it.each(['18.20.4', '20.18.3', '21.7.3', '22.12.0'])(
    'the command tallycast says in one line that Node %s is too old',
    (version) => {
      const preload = `Object.defineProperty(process, 'versions', { value: { node: '${version}' } })`;
      const args = ['--import', `data:text/javascript,${preload}`, join(ROOT, 'dist', 'main.js')];
      const { status, stdout, stderr } = spawnSync(process.execPath, args, { encoding: 'utf8' });
      const line = `Tallycast runs on Node 20.19 or later, 22.13 or later, 24 and 26; this is Node ${version}\n`;
      expect({ status, stdout, stderr }).toEqual({ status: 1, stdout: '', stderr: line });
    },
  );
});

describe('a gateway with its default settings', () => {
  it('a gateway drains and ends after its log has lost its reader', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'tallycast-command-'));
    const { PATH = '' } = process.env;
    const env = { PATH, PORT: '0', DATA_DIR: directory };
    const child = spawn(process.execPath, [join(ROOT, 'dist', 'main.js')], {
      env,
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    await once(child.stdout, 'data');
    child.stdout.destroy();
    const ended = once(child, 'exit');
    child.kill('SIGTERM');
    expect(await ended).toEqual([0, null]);
    await rm(directory, { recursive: true, force: true });
  });

  it('a gateway has all shortcuts on and logs no warning', async () => {
    const gateway = await startGateway();
    const page = await readMetrics(gateway.url);
    const shortcuts = [...page].filter(([name]) => name.startsWith('tallycast_shortcut{'));
    expect(shortcuts.map(([, value]) => value)).toEqual([1, 1, 1, 1, 1, 1, 1]);
    expect(gateway.log).toHaveLength(1);
  });
});

import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from '@jest/globals';
import { runCommand } from '../support/command.js';
import { readSinkWarnings } from '../support/fed-gateway.js';
import { startGateway, stopAll } from '../support/gateway-process.js';
import { readMetrics } from '../support/metrics.js';
import { until } from '../support/until.js';

afterAll(stopAll);

describe('boots with sinks', () => {
  it.each([
    ['METRICS', { METRICS: 'likes:toggle,views:tally,epoch:tally' }, /^METRICS has "epoch"/],
    ['SINK_URL', { SINK_URL: 'postgres://ann:secret@127.0.0.1' }, /^SINK_URL (?!.*secret)names no database/],
    ['SINK_URL', { SINK_URL: 'nats://127.0.0.1:1/' }, /^SINK_URL nats:.* has to end with \?stream=/],
    ['SINK_URL', { SINK_URL: 'file:///var/lib/' }, /^SINK_URL file:.* names a directory/],
    [
      'SINK_URL',
      { SINK_URL: 'postgres://ann:secret@host/app,postgres://bob:secret@host/app' },
      /^SINK_URL names the sink postgres:\/\/host:5432\/app twice$/,
    ],
    [
      'SINK_URL',
      { SINK_URL: 'nats://127.0.0.1:1/', REDIS_URL: 'redis://127.0.0.1:1', WORKERS: '2' },
      /^SINK_URL nats:/,
    ],
  ])('a wrong %s ends the boot with one line, before a store is opened', async (_name, env, line) => {
    const directory = await mkdtemp(join(tmpdir(), 'tallycast-sinks-'));
    const boot = startGateway({ SINK_URL: 'postgres://ann:secret@127.0.0.1:1/app', DATA_DIR: directory, ...env });
    const failure = await boot.then(String, (error: unknown) => (error as Error).message.split('\n'));
    expect(failure).toEqual([
      'the gateway ended before it listened, by exit code 1',
      expect.stringMatching(line) as unknown,
    ]);
    expect(await readdir(directory)).toEqual([]);
    await rm(directory, { recursive: true });
  });

  it('a gateway is ready while its sink is down', async () => {
    const gateway = await startGateway({ SINK_URL: 'postgres://ann:secret@127.0.0.1:1/app' });
    await until(() => readSinkWarnings(gateway).length > 0, 'the gateway warns');
    expect(readSinkWarnings(gateway)).toEqual([
      expect.stringMatching(/^postgres:\/\/127.0.0.1:1\/app: .*ECONNREFUSED/),
    ]);
    expect((await fetch(`${gateway.url}/readyz`)).status).toBe(200);
    expect((await readMetrics(gateway.url)).get('tallycast_sink_up{sink="postgres://127.0.0.1:1/app"}')).toBe(0);
    expect(await gateway.kill('SIGTERM')).toBe(0);
  });

  it('sink schema prints the tables for the settings', async () => {
    const args = ['sink', 'schema', '--metrics', 'likes:toggle,views:tally,shares:tally'];
    const { status, stdout } = await runCommand(args, {
      SINK_URL: 'postgres://ann:secret@db.example/app?schema=counts',
    });
    expect(status).toBe(0);
    expect(stdout).toContain('CREATE TABLE "counts".tallycast_counts');
    expect(stdout).toContain('"shares" bigint NOT NULL DEFAULT 0');
    expect(stdout).not.toContain('secret');
    expect(await runCommand(args, {})).toEqual({
      status: 1,
      stdout: '',
      stderr: 'sink schema needs SINK_URL=postgres://…: the schema and the user of the tables stand in it\n',
    });
  });
});

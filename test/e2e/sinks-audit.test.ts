import { afterAll, afterEach, beforeAll, expect, it } from '@jest/globals';
import { closeClients } from '../support/clients.js';
import { runCommand } from '../support/command.js';
import { ADMIN_TOKEN, likeAndView, readRows, readSinkWarnings, untilEqual } from '../support/fed-gateway.js';
import { type GatewayProcess, startGateway, stopAll } from '../support/gateway-process.js';
import { readMetrics } from '../support/metrics.js';
import { startPostgres, stopPostgres, type TestDatabase } from '../support/postgres-server.js';
import { until } from '../support/until.js';

let database: TestDatabase;
let gateway: GatewayProcess;

beforeAll(async () => {
  const postgres = await startPostgres();
  database = await postgres.createDatabase();
  gateway = await startGateway({ SINK_URL: database.url.href, SINK_MS: '100', ADMIN_TOKEN });
  await likeAndView(gateway, 'ada', 'grace');
  await untilEqual(database, gateway);
});

afterEach(closeClients);

afterAll(async () => {
  await stopAll();
  await stopPostgres();
});

it('an audit finds a row that was edited, and repairs it on demand', async () => {
  const env = { ADMIN_TOKEN, TALLYCAST_URL: gateway.url };
  const same = { status: 0, stdout: expect.stringMatching(/^\{"done":true,.*"drift":0\}\n$/) as unknown, stderr: '' };
  expect(await runCommand(['audit'], env)).toEqual(same);
  await database.sql("UPDATE tallycast_counts SET likes = likes + 5 WHERE post = '42'");
  const audit = await runCommand(['audit', '--repair'], env);
  const lines = audit.stdout.trimEnd().split('\n');
  expect(audit.status).toBe(1);
  expect(lines.map((line) => JSON.parse(line) as unknown)).toEqual([
    expect.objectContaining({ arm: 'sums', metric: 'likes', difference: 5 }),
    expect.objectContaining({ arm: 'rows', post: '42' }),
    expect.objectContaining({ done: true, drift: 2 }),
  ]);
  await untilEqual(database, gateway);
  expect(await runCommand(['audit'], env)).toEqual(same);
});

it('a gateway finds a row that was edited unasked, reports it, and repairs nothing', async () => {
  const sink = `postgres://127.0.0.1:${database.url.port}/${database.name}`;
  const readDrift = async (): Promise<unknown> =>
    (await readMetrics(gateway.url)).get(`tallycast_drift{sink="${sink}",arm="rows",metric="views"}`);
  expect(await readDrift()).toBe(0);
  await database.sql("UPDATE tallycast_counts SET views = views - 1 WHERE post = '42'");
  await until(async () => (await readDrift()) === 1, 'the row is found');
  expect(readSinkWarnings(gateway)).toContainEqual(
    expect.stringMatching(
      /: it differs from the store: post 42 has the row likes 2, views 3 .*tallycast audit --repair$/,
    ),
  );
  expect((await readRows(database))['42']).toEqual({ likes: 2, views: 3 });
  await runCommand(['audit', '--repair'], { ADMIN_TOKEN, TALLYCAST_URL: gateway.url });
  await until(async () => (await readDrift()) === 0, 'the row is right again');
});

it('one of two audits is rejected, and one whose client goes away ends', async () => {
  const locked = database.sql('BEGIN; LOCK TABLE tallycast_counts; SELECT pg_sleep(600)').catch(String);
  const audit = async (signal?: AbortSignal): Promise<unknown> => {
    const headers = { Authorization: `Bearer ${ADMIN_TOKEN}` };
    const response = await fetch(`${gateway.url}/admin/audit`, {
      method: 'POST',
      headers,
      ...(signal && { signal }),
    });
    return response.ok ? response.status : ((await response.json()) as { code: string }).code;
  };
  await until(async () => (await countActivity("wait_event = 'PgSleep'")) === 1, 'the table is locked');
  // The other one waits for the table until a limit of time.
  expect((await Promise.all([audit(), audit()])).sort()).toEqual(['OVERLOADED', 'UNAVAILABLE']);
  const client = new AbortController();
  const cut = audit(client.signal).catch((error: unknown) => (error as Error).name);
  await until(async () => (await countActivity("wait_event_type = 'Lock'")) > 0, 'the audit waits for the table');
  client.abort();
  expect(await cut).toBe('AbortError');
  await database.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event = 'PgSleep'");
  await locked;
  await until(async () => (await audit()) === 200, 'another audit runs');
});

async function countActivity(condition: string): Promise<number> {
  const here = 'datname = current_database() AND pid <> pg_backend_pid()';
  return (await database.sql(`SELECT 1 FROM pg_stat_activity WHERE ${here} AND ${condition}`)).length;
}

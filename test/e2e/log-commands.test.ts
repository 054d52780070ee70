import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { parseRedisUrl } from '../../src/config/redis-url.js';
import { RedisLog } from '../../src/log/redis/redis-log.js';
import { RedisClient } from '../../src/store/redis/client/redis-client.js';
import { type CommandResult, runCommand } from '../support/command.js';
import { readCount } from '../support/events.js';
import { type GatewayProcess, startGateway, stopAll } from '../support/gateway-process.js';
import { readMetric, readMetrics, untilMetric } from '../support/metrics.js';
import { patientClock } from '../support/patient-clock.js';
import { type RedisServer, startRedis, stopRedis } from '../support/redis-server.js';
import { until } from '../support/until.js';

const ADMIN_TOKEN = 'a-token-of-an-operator';
const STANDARD = 'likes:toggle,views:tally';

const SHARES = { partition: 3, offset: 7, index: 2, reason: 'unknown metric "shares"', event: '["a","shares",5]' };

let server: RedisServer;
let gateway: GatewayProcess;
let log: RedisLog;

beforeAll(async () => {
  server = await startRedis();
  const options = { clock: patientClock, replicated: false, warn: () => undefined };
  const client = await RedisClient.open(parseRedisUrl(server.url), options);
  const newName = (): string => randomBytes(8).toString('hex');
  log = await RedisLog.open(client, { clock: patientClock, eventsMax: 1_000, newName });
  await log.addDeadLetters([
    SHARES,
    { partition: 4, offset: 8, index: 0, reason: 'the entry is no JSON object', event: 'höhe' },
  ]);
  // Time passes faster in the gateway, because the log is measured every 10 s.
  const settings = { ADMIN_TOKEN, LOG_URL: server.url, METRICS: `${STANDARD},shares:tally` };
  gateway = await startGateway(settings, { timeScale: 0.3 });
});
afterAll(async () => {
  await log.close();
  await stopAll();
  await stopRedis();
});

async function runLogCommand(...args: string[]): Promise<CommandResult> {
  return await runCommand(['log', ...args], { ADMIN_TOKEN, TALLYCAST_URL: gateway.url });
}

function parseLines({ stdout }: CommandResult): unknown[] {
  return stdout
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as unknown);
}

describe('tallycast log', () => {
  it('log status reports what is in the log', async () => {
    const result = await runLogCommand('status');
    expect(result).toMatchObject({ status: 0, stderr: '' });
    expect(parseLines(result)).toEqual([
      {
        done: true,
        log: (await log.status()).log,
        server: server.url,
        ...{ events: 0, eventsMax: 1_000_000, waiting: 0, dead: 2, deadDropped: 0, partitions: [] },
      },
    ]);
  });

  it('log dead lists letters up to a limit', async () => {
    const shares = { partition: 3, offset: '7:2', reason: 'unknown metric "shares"', event: '["a","shares",5]' };
    const other = { partition: 4, offset: '8:0', reason: 'the entry is no JSON object', event: 'höhe' };
    expect(parseLines(await runLogCommand('dead'))).toEqual([shares, other, { done: true, listed: 2 }]);
    expect(parseLines(await runLogCommand('dead', '--limit', '1'))).toEqual([shares, { done: true, listed: 1 }]);
    expect(await runLogCommand('dead', '--limit=0')).toEqual({
      ...{ status: 1, stdout: '', stderr: 'BAD_REQUEST: --limit must be a whole number from 1 to 999999\n' },
    });
  });

  it('log retry appends letters that can be counted now, and names the others', async () => {
    expect(parseLines(await runLogCommand('retry'))).toEqual([
      { partition: 4, offset: '8:0', reason: 'the entry is no JSON object' },
      { done: true, retried: 1, left: 1 },
    ]);
    const requests = Array.from({ length: 16 }, (_, partition) => ({ partition, after: 0 }));
    const payloads = (await log.read(requests, 10)).flatMap(({ entries }) => entries.map(({ payload }) => payload));
    expect(payloads).toEqual([
      expect.stringMatching(/^\{"at":\d+,"events":\[\["a","shares",5,\{"session":"\w{16}"\}\]\]\}$/),
    ]);
    expect(await log.listDeadLetters(3, 10)).toEqual([]);
    await until(async () => (await readCount(gateway.url, 'a', 'shares')) === 5, 'the event is counted');
  });

  it('a letter that is retried twice counts once', async () => {
    await log.addDeadLetters([SHARES]);
    expect(parseLines(await runLogCommand('retry')).at(-1)).toEqual({ done: true, retried: 1, left: 1 });
    await untilMetric(gateway.url, 'tallycast_log_applied_total', 2);
    expect(await readCount(gateway.url, 'a', 'shares')).toBe(5);
  });

  it('metrics show the log, and the gateway is ready while it is down', async () => {
    await untilMetric(gateway.url, 'tallycast_log_events', 2);
    await untilMetric(gateway.url, 'tallycast_log_waiting_events', 0);
    await untilMetric(gateway.url, 'tallycast_log_dead_letters', 1);
    const metrics = await readMetrics(gateway.url);
    expect(metrics.get('tallycast_log_up')).toBe(1);
    expect(metrics.get('tallycast_log_events')).toBe(2);
    expect(metrics.get('tallycast_log_appended_total')).toBe(2);
    await server.kill('SIGKILL');
    await untilMetric(gateway.url, 'tallycast_log_up', 0);
    await until(
      async () => Number.isNaN(await readMetric(gateway.url, 'tallycast_log_events')),
      'the events are unknown',
    );
    expect((await fetch(`${gateway.url}/readyz`)).status).toBe(200);
    expect(gateway.log.filter((line) => line.includes('connection lost') && line.includes('"log"'))).toHaveLength(1);
    expect(await runLogCommand('status')).toMatchObject({
      status: 1,
      stderr: expect.stringMatching(/^UNAVAILABLE: the log: /) as unknown,
    });
  });

  it('a gateway without LOG_URL has no log', async () => {
    const { url } = await startGateway({ ADMIN_TOKEN });
    expect(await runCommand(['log', 'status'], { ADMIN_TOKEN, TALLYCAST_URL: url })).toMatchObject({
      stderr: 'BAD_REQUEST: this gateway has no LOG_URL: use a gateway that has it\n',
    });
    expect([...(await readMetrics(url)).keys()].filter((name) => name.startsWith('tallycast_log_'))).toEqual([]);
  });
});

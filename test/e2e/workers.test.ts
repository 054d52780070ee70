import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { spawnSync } from 'node:child_process';
import { Agent } from 'node:http';
import { join } from 'node:path';
import { EventSource } from 'eventsource';
import { closeClients, connect, LedgerClient, totalsAt, untilClosed, untilConnected } from '../support/clients.js';
import { Crowd, HASTY } from '../support/clients-crowd.js';
import { freePort } from '../support/free-port.js';
import { type GatewayProcess, ROOT, startGateway, stopAll } from '../support/gateway-process.js';
import { Random } from '../support/random.js';
import { type RedisServer, startRedis, stopRedis } from '../support/redis-server.js';
import { until } from '../support/until.js';
import { ask, isAlive, listeningRecords, ofWorkers, open, sum, workersOf } from '../support/workers.js';

const WORKERS = 2;
const SEED = Number(process.env['TEST_SEED'] ?? Date.now() % 1_000_000);
const SCALE = Number(process.env['TEST_SCALE'] ?? 1);
const SOCKETS = 50;
const UPGRADES = 200 * SCALE;
const AT_ONCE = 50;
const LIMIT_MS = 60_000;
const BYE = { reason: expect.stringMatching(/./), retryAfterMs: expect.any(Number) };

let redis: RedisServer;

beforeAll(async () => {
  redis = await startRedis();
}, LIMIT_MS);

afterEach(closeClients);

afterAll(async () => {
  await stopAll();
  await stopRedis();
});

function start(env: Record<string, string> = {}): Promise<GatewayProcess> {
  return startGateway({ REDIS_URL: redis.url, WORKERS: String(WORKERS), MAX_OPS_PER_CONNECTION: '0', ...env });
}

describe('workers on one port', () => {
  let gateway: GatewayProcess;

  beforeAll(async () => {
    gateway = await start();
  }, LIMIT_MS);

  it('are announced once, when all of them listen', () => {
    expect(listeningRecords(gateway).map((line) => JSON.parse(line) as unknown)).toEqual([
      expect.objectContaining({ msg: 'listening', url: gateway.url, workers: WORKERS }),
    ]);
    expect(workersOf(gateway)).toHaveLength(WORKERS);
  });

  it('take requests of all their sessions over one connection that is kept alive', async () => {
    const anew = new Agent({ keepAlive: false });
    const one = new Agent({ keepAlive: true, maxSockets: 1 });
    const sids = await Promise.all(Array.from({ length: 4 * WORKERS }, () => open(gateway.url, anew)));
    expect(new Set(sids.map((sid) => sid.split('.')[0])).size).toBe(WORKERS);
    for (const sid of sids) expect(await ask(gateway.url, one, sid, 'POST', '40')).toBe('ok');
    for (const sid of sids) expect(await ask(gateway.url, one, sid, 'GET')).toMatch(/^40\{"sid"/);
    for (const sid of sids) expect(await ask(gateway.url, one, sid, 'POST', '420["view",{"post":"kept"}]')).toBe('ok');
    for (const sid of sids) expect(await ask(gateway.url, one, sid, 'GET')).toMatch(/^430\[\{"ok":true/);
    for (const sid of sids) expect(await ask(gateway.url, one, sid, 'POST', '41')).toBe('ok');
    one.destroy();
    anew.destroy();
  });

  it.each(['999.abcdefghijklmnopqrst', 'abcdefghijklmnopqrst', '1.gone'])(
    'know nothing of a session %s',
    async (sid) => {
      const answer = await fetch(`${gateway.url}/socket.io/?EIO=4&transport=polling&sid=${sid}`);
      expect({ status: answer.status, body: await answer.json() }).toEqual({
        status: 400,
        body: { code: 1, message: 'Session ID unknown' },
      });
    },
  );

  it(
    `upgrade ${UPGRADES} sessions to WebSockets, whichever worker the connection comes to`,
    async () => {
      for (let done = 0; done < UPGRADES; done += AT_ONCE) {
        const sockets = Array.from({ length: AT_ONCE }, () =>
          connect(gateway.url, {}, { transports: ['polling', 'websocket'], reconnection: false }),
        );
        await Promise.all(sockets.map(untilConnected));
        const isUpgraded = (): boolean => sockets.every(({ io }) => io.engine.transport.name === 'websocket');
        await until(isUpgraded, 'all are upgraded', LIMIT_MS);
        const answers = await Promise.all(sockets.map((socket) => socket.emitWithAck('view', { post: 'upgraded' })));
        expect(new Set(answers.map(({ ok }) => ok))).toEqual(new Set([true]));
        await closeClients();
      }
      expect(await totalsAt(gateway.url, ['upgraded'])).toEqual({ upgraded: { likes: 0, views: UPGRADES } });
    },
    LIMIT_MS * SCALE,
  );

  it(
    'serve event streams, and show there what came in elsewhere',
    async () => {
      const streams = Array.from({ length: WORKERS }, () => new EventSource(`${gateway.url}/v1/stream?posts=streamed`));
      const latest = streams.map((stream) => {
        const seen = { views: 0 };
        stream.addEventListener('counts', ({ data }) => {
          seen.views = (JSON.parse(String(data)) as [{ views: number }])[0].views;
        });
        return seen;
      });
      await until(
        async () => sum(await ofWorkers(gateway.url, 'tallycast_streams')) === WORKERS,
        'all streams are open',
      );
      const put = { method: 'PUT', body: '{"action":"increment"}' };
      for (let i = 0; i < 10; i++) expect((await fetch(`${gateway.url}/v1/streamed/views`, put)).status).toBe(200);
      await until(() => latest.every(({ views }) => views === 10), 'all streams show all views');
      for (const stream of streams) stream.close();
    },
    LIMIT_MS,
  );

  it('are one page of metrics, a series each', async () => {
    const sockets = Array.from({ length: 2 * WORKERS }, () => connect(gateway.url));
    await Promise.all(sockets.map(untilConnected));
    const each = await ofWorkers(gateway.url, 'tallycast_sockets');
    expect(each).toHaveLength(WORKERS);
    expect(sum(each)).toBe(sockets.length);
  });
});

describe('the end', () => {
  it.each(['SIGTERM', 'SIGINT'] as const)(
    `by %s is a drain of all workers (TEST_SEED=${SEED})`,
    async (signal) => {
      const gateway = await start();
      const crowd = new Crowd(gateway.url, SOCKETS, [`by-${signal}`], new Random(SEED), { reconnection: false });
      await Promise.all(crowd.clients.map(({ socket }) => untilConnected(socket)));
      const enough = crowd.acknowledgements(1000);
      crowd.act();
      await enough;
      const workers = workersOf(gateway);
      const ended = gateway.kill(signal);
      await Promise.all(crowd.clients.map(({ socket }) => untilClosed(socket)));
      expect(await ended).toBe(0);
      expect(crowd.clients.map(({ byes }) => byes)).toEqual(crowd.clients.map(() => [BYE]));
      expect(workers.filter(isAlive)).toEqual([]);
      const again = await start({ WORKERS: '1' });
      expect(await totalsAt(again.url, crowd.posts)).toEqual(crowd.acknowledged);
      await again.kill('SIGTERM');
    },
    LIMIT_MS,
  );

  it(
    'of a primary by SIGKILL is a drain of its workers, too',
    async () => {
      const gateway = await start();
      const clients = Array.from(
        { length: 2 * WORKERS },
        (_, i) => new LedgerClient(gateway.url, `actor-${i}`, { reconnection: false }),
      );
      await Promise.all(clients.map(({ socket }) => untilConnected(socket)));
      const workers = workersOf(gateway);
      process.kill(gateway.pid, 'SIGKILL');
      await Promise.all(clients.map(({ socket }) => untilClosed(socket)));
      expect(clients.map(({ byes }) => byes)).toEqual(clients.map(() => [BYE]));
      await until(() => !workers.some(isAlive), 'no worker is left', LIMIT_MS);
    },
    LIMIT_MS,
  );

  it(
    'comes at once, with one line, where workers cannot start',
    async () => {
      const port = await freePort();
      const { PATH = '', HOME = '' } = process.env;
      const { status, stderr } = spawnSync(process.execPath, [join(ROOT, 'dist', 'main.js')], {
        env: { PATH, HOME, PORT: '0', WORKERS: String(WORKERS), REDIS_URL: `redis://127.0.0.1:${port}` },
        encoding: 'utf8',
        timeout: LIMIT_MS,
      });
      expect({ status, stderr }).toEqual({
        status: 1,
        stderr: expect.stringMatching(/^REDIS_URL [^\n]+\n$/) as unknown,
      });
    },
    LIMIT_MS,
  );

  it(
    'frees the port for clients that come back',
    async () => {
      const first = await start();
      const client = new LedgerClient(first.url, 'ada', HASTY);
      client.act({ event: 'view', post: 'back' });
      await client.settled();
      expect(await first.kill('SIGTERM')).toBe(0);
      await start({ PORT: String(first.port) });
      client.act({ event: 'view', post: 'back' });
      await client.settled();
      expect(await totalsAt(first.url, ['back'])).toEqual({ back: { likes: 0, views: 2 } });
    },
    LIMIT_MS,
  );
});

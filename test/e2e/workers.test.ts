import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { Agent } from 'node:http';
import { EventSource } from 'eventsource';
import { closeClients, connect, LedgerClient, readTotals, untilClosed, untilConnected } from '../support/clients.js';
import { Crowd, FAST_RECONNECT } from '../support/clients-crowd.js';
import { freePort } from '../support/free-port.js';
import { type GatewayProcess, startGateway, stopAll } from '../support/gateway-process.js';
import { readMetrics } from '../support/metrics.js';
import { Random } from '../support/random.js';
import { type RedisServer, startRedis, stopRedis } from '../support/redis-server.js';
import { until } from '../support/until.js';
import {
  pollOnce,
  isAlive,
  listeningRecords,
  readWorkerMetric,
  openPolling,
  sum,
  listWorkers,
} from '../support/workers.js';

const WORKERS = 2;
const SEED = Number(process.env['TEST_SEED'] ?? Date.now() % 1_000_000);
const SCALE = Number(process.env['TEST_SCALE'] ?? 1);
const SOCKETS = 50;
const UPGRADES = 100 * SCALE;
const AT_ONCE = 50;
const BYE = { reason: expect.stringMatching(/./), retryAfterMs: expect.any(Number) };

let redis: RedisServer;
let gateway: GatewayProcess;

beforeAll(async () => {
  redis = await startRedis();
  gateway = await start();
});

afterEach(closeClients);

afterAll(async () => {
  await stopAll();
  await stopRedis();
});

/** Stretched, because the drain gives clients 3 s to read the last counts and `bye`. */
function start(env: Record<string, string> = {}, args: readonly string[] = []): Promise<GatewayProcess> {
  const standard = { REDIS_URL: redis.url, WORKERS: String(WORKERS), MAX_OPS_PER_CONNECTION: '0' };
  return startGateway({ ...standard, ...env }, { timeScale: 3, args });
}

describe('workers on one port', () => {
  it('workers log one record when all of them listen', () => {
    expect(listeningRecords(gateway).map((line) => JSON.parse(line) as unknown)).toEqual([
      expect.objectContaining({ msg: 'listening', url: gateway.url, workers: WORKERS }),
    ]);
    expect(listWorkers(gateway)).toHaveLength(WORKERS);
  });

  it('workers serve requests of all sessions over one keep-alive connection', async () => {
    const newConnections = new Agent({ keepAlive: false });
    const one = new Agent({ keepAlive: true, maxSockets: 1 });
    const sids = await Promise.all(Array.from({ length: 4 * WORKERS }, () => openPolling(gateway.url, newConnections)));
    expect(new Set(sids.map((sid) => sid.split('.')[0])).size).toBe(WORKERS);
    for (const sid of sids) expect(await pollOnce(gateway.url, one, sid, 'POST', '40')).toBe('ok');
    for (const sid of sids) expect(await pollOnce(gateway.url, one, sid, 'GET')).toMatch(/^40\{"sid"/);
    for (const sid of sids)
      expect(await pollOnce(gateway.url, one, sid, 'POST', '420["view",{"post":"kept"}]')).toBe('ok');
    for (const sid of sids) expect(await pollOnce(gateway.url, one, sid, 'GET')).toMatch(/^430\[\{"ok":true/);
    for (const sid of sids) expect(await pollOnce(gateway.url, one, sid, 'POST', '41')).toBe('ok');
    one.destroy();
    newConnections.destroy();
  });

  it.each(['999.abcdefghijklmnopqrst', 'abcdefghijklmnopqrst', '1.gone'])(
    'workers reject a session %s',
    async (sid) => {
      const answer = await fetch(`${gateway.url}/socket.io/?EIO=4&transport=polling&sid=${sid}`);
      expect({ status: answer.status, body: await answer.json() }).toEqual({
        status: 400,
        body: { code: 1, message: 'Session ID unknown' },
      });
    },
  );

  it(`workers upgrade ${UPGRADES} sessions to WebSockets, even if another worker gets the connection`, async () => {
    for (let done = 0; done < UPGRADES; done += AT_ONCE) {
      const sockets = Array.from({ length: AT_ONCE }, () =>
        connect(gateway.url, {}, { transports: ['polling', 'websocket'], reconnection: false }),
      );
      await Promise.all(sockets.map(untilConnected));
      const isUpgraded = (): boolean => sockets.every(({ io }) => io.engine.transport.name === 'websocket');
      await until(isUpgraded, 'all sessions are upgraded');
      const answers = await Promise.all(sockets.map((socket) => socket.emitWithAck('view', { post: 'upgraded' })));
      expect(new Set(answers.map(({ ok }) => ok))).toEqual(new Set([true]));
      await closeClients();
    }
    expect(await readTotals(gateway.url, ['upgraded'])).toEqual({ upgraded: { likes: 0, views: UPGRADES } });
  });

  it('event streams of one worker send operations of all workers', async () => {
    const streams = Array.from({ length: WORKERS }, () => new EventSource(`${gateway.url}/v1/stream?posts=streamed`));
    const latest = streams.map((stream) => {
      const seen = { views: 0 };
      stream.addEventListener('counts', ({ data }) => {
        seen.views = (JSON.parse(String(data)) as [{ views: number }])[0].views;
      });
      return seen;
    });
    await until(
      async () => sum(await readWorkerMetric(gateway.url, 'tallycast_streams')) === WORKERS,
      'all streams are open',
    );
    const put = { method: 'PUT', body: '{"action":"increment"}' };
    for (let i = 0; i < 10; i++) expect((await fetch(`${gateway.url}/v1/streamed/views`, put)).status).toBe(200);
    await until(() => latest.every(({ views }) => views === 10), 'all streams show all views');
    for (const stream of streams) stream.close();
  });

  it('workers share one page of metrics, with a series each', async () => {
    const sockets = Array.from({ length: 2 * WORKERS }, () => connect(gateway.url));
    await Promise.all(sockets.map(untilConnected));
    const each = await readWorkerMetric(gateway.url, 'tallycast_sockets');
    expect(each).toHaveLength(WORKERS);
    expect(sum(each)).toBe(sockets.length);
    const shortcuts = [...(await readMetrics(gateway.url))].filter(([name]) => name.startsWith('tallycast_shortcut{'));
    expect(shortcuts.map(([, on]) => on)).toEqual(Array.from({ length: 7 * WORKERS }, () => 1));
  });
});

/** The tests depend on their order: later ones end processes that earlier ones use. */
describe('the end of workers', () => {
  let doomed: GatewayProcess;

  beforeAll(async () => {
    doomed = await start();
  });

  async function expectDrain(signal: NodeJS.Signals): Promise<void> {
    const crowd = new Crowd(doomed.url, SOCKETS, [`by-${signal}`], new Random(SEED), { reconnection: false });
    await Promise.all(crowd.clients.map(({ socket }) => untilConnected(socket)));
    const enough = crowd.untilAcknowledgements(1000);
    crowd.act();
    await enough;
    const workers = listWorkers(doomed);
    const ended = doomed.kill(signal);
    await Promise.all(crowd.clients.map(({ socket }) => untilClosed(socket)));
    expect(await ended).toBe(0);
    expect(crowd.clients.map(({ byes }) => byes)).toEqual(crowd.clients.map(() => [BYE]));
    expect(workers.filter(isAlive)).toEqual([]);
    expect(await readTotals(gateway.url, crowd.posts)).toEqual(crowd.acknowledged);
  }

  it(`a SIGTERM drains all workers and frees the port for clients that reconnect (TEST_SEED=${SEED})`, async () => {
    const client = new LedgerClient(doomed.url, 'ada', FAST_RECONNECT);
    client.act({ event: 'view', post: 'back' });
    await client.untilAcknowledged();
    await expectDrain('SIGTERM');
    doomed = await start({ PORT: String(doomed.port) });
    client.act({ event: 'view', post: 'back' });
    await client.untilAcknowledged();
    expect(await readTotals(doomed.url, ['back'])).toEqual({ back: { likes: 0, views: 2 } });
  });

  it(`a SIGINT drains all workers (TEST_SEED=${SEED})`, () => expectDrain('SIGINT'));

  it('a SIGKILL of the primary drains its workers', async () => {
    const clients = Array.from(
      { length: 2 * WORKERS },
      (_, i) => new LedgerClient(gateway.url, `actor-${i}`, { reconnection: false }),
    );
    await Promise.all(clients.map(({ socket }) => untilConnected(socket)));
    const workers = listWorkers(gateway);
    process.kill(gateway.pid, 'SIGKILL');
    await Promise.all(clients.map(({ socket }) => untilClosed(socket)));
    expect(clients.map(({ byes }) => byes)).toEqual(clients.map(() => [BYE]));
    await until(() => !workers.some(isAlive), 'no worker is left');
  });

  it.each([
    ['environment variables', { PORT: '0', OPS_PORT: '0' }, []],
    ['flags', { PORT: '1' }, ['--port', '0', '--ops-port=0']],
  ])('workers that replace all others listen on the same free ports, chosen by %s', async (_name, env, args) => {
    const all = await start(env, args);
    const { opsUrl } = JSON.parse(listeningRecords(all)[0]!) as { opsUrl: string };
    const client = new LedgerClient(all.url, 'ada', FAST_RECONNECT);
    client.act({ event: 'view', post: 'same-port' });
    await client.untilAcknowledged();
    const workers = listWorkers(all);
    for (const pid of workers) process.kill(pid, 'SIGKILL');
    await until(() => !workers.some(isAlive), 'all workers have ended');
    client.act({ event: 'view', post: 'same-port' });
    await client.untilAcknowledged();
    await until(async () => (await fetch(`${opsUrl}/healthz`).catch(() => null))?.ok === true, 'OPS_PORT is served');
    expect(await all.kill('SIGTERM')).toBe(0);
  });

  it('a gateway whose workers cannot start ends with one line', async () => {
    // The 10 s in which workers try to connect pass ten times as fast.
    const env = { REDIS_URL: `redis://127.0.0.1:${await freePort()}`, WORKERS: String(WORKERS) };
    const failure = await startGateway(env, { timeScale: 0.1 }).then(String, String);
    // Log records on stdout are JSON.
    expect(failure.split('\n').filter((line) => !line.startsWith('{'))).toEqual([
      'Error: the gateway ended before it listened, by exit code 1',
      expect.stringMatching(/^REDIS_URL /),
    ]);
  });
});

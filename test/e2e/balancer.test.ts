import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { createInterface } from 'node:readline';
import { join } from 'node:path';
import { closeClients, connect, LedgerClient, readTotals, untilConnected } from '../support/clients.js';
import { Crowd, FAST_RECONNECT } from '../support/clients-crowd.js';
import { freePort } from '../support/free-port.js';
import { type GatewayProcess, ROOT, startGateway, stopAll } from '../support/gateway-process.js';
import { readMetric } from '../support/metrics.js';
import { Processes } from '../support/processes.js';
import { Random } from '../support/random.js';
import { type RedisServer, startRedis, stopRedis } from '../support/redis-server.js';
import { until } from '../support/until.js';

const SEED = Number(process.env['TEST_SEED'] ?? Date.now() % 1_000_000);
const SOCKETS = 50;
const POSTS = Array.from({ length: 20 }, (_, i) => `post-${i}`);
/** Names of the servers in HAProxy. */
const NAMES = ['g1', 'g2'] as const;
/** Stock clients keep the balancer's cookie only with this option. */
const COOKIES = { withCredentials: true };
const BYE = { reason: expect.stringMatching(/./), retryAfterMs: expect.any(Number) };

const processes = new Processes();
const balancerLog: string[] = [];
let redis: RedisServer;
let gateways: GatewayProcess[];
let url: string;

beforeAll(async () => {
  redis = await startRedis();
  gateways = await Promise.all(NAMES.map(() => start('0')));
  url = await startBalancer();
});

afterEach(closeClients);

afterAll(async () => {
  await processes.end();
  await stopAll();
  await stopRedis();
});

function start(port: string): Promise<GatewayProcess> {
  return startGateway({
    ...{ REDIS_URL: redis.url, PORT: port, TRUST_PROXY: 'loopback' },
    ...{ MAX_OPS_PER_CONNECTION: '0', MAX_CONNECTIONS_PER_ADDRESS: '1' },
  });
}

/** HAProxy with the configuration of deploy/. One of its three gateways is down. */
async function startBalancer(): Promise<string> {
  const listen = `127.0.0.1:${await freePort()}`;
  const [one, two] = gateways.map(({ port }) => `127.0.0.1:${port}`);
  const { child, closed } = processes.start(
    process.env['HAPROXY_BIN']!,
    ['-db', '-f', join(ROOT, 'deploy', 'haproxy.cfg')],
    {
      env: {
        LISTEN: listen,
        GATEWAY_1: one,
        GATEWAY_2: two,
        GATEWAY_3: `127.0.0.1:${await freePort()}`,
        MAXCONN: '1000',
      },
      stdio: ['ignore', 'pipe', 'pipe'],
    },
  );
  closed.catch(() => undefined);
  for (const output of [child.stdout!, child.stderr!]) {
    createInterface({ input: output }).on('line', (line) => balancerLog.push(line));
  }
  await until(async () => (await readStatus(`http://${listen}/readyz`)) === 200, 'the balancer answers');
  await untilInState('g3', 'DOWN');
  return `http://${listen}`;
}

async function readStatus(address: string): Promise<number> {
  try {
    return (await fetch(address)).status;
  } catch {
    return 0;
  }
}

function stateOf(name: string): 'UP' | 'DOWN' {
  const changes = balancerLog.filter((line) => line.includes(`Server gateways/${name} is `));
  return changes.at(-1)?.includes('is DOWN') ? 'DOWN' : 'UP';
}

async function untilInState(name: string, state: 'UP' | 'DOWN'): Promise<void> {
  await until(() => stateOf(name) === state, `${name} is ${state}`);
}

function socketsOf(gateway: GatewayProcess): Promise<number> {
  return readMetric(gateway.url, 'tallycast_sockets');
}

describe('behind HAProxy', () => {
  it('sessions of long-polling stay on their gateway behind HAProxy, upgraded or not', async () => {
    const transports = [['polling'], ['polling', 'websocket']];
    const clients = Array.from(
      { length: 20 },
      (_, i) =>
        new LedgerClient(url, `actor-${i}`, { transports: transports[i % 2]!, reconnection: false, ...COOKIES }),
    );
    const lost: string[] = [];
    for (const { socket } of clients) socket.on('disconnect', (reason) => lost.push(reason));
    await Promise.all(clients.map(({ socket }) => untilConnected(socket)));
    const each = await Promise.all(gateways.map(socketsOf));
    expect(each).not.toContain(0);
    expect(each[0]! + each[1]!).toBe(clients.length);
    for (let attempt = 0; attempt < 10; attempt++) {
      for (const client of clients) client.act({ event: 'view', post: 'polled' });
      await Promise.all(clients.map((client) => client.untilAcknowledged()));
    }
    expect(lost).toEqual([]);
    expect(await Promise.all(gateways.map(socketsOf))).toEqual(each);
    for (const gateway of gateways) {
      expect(await readTotals(gateway.url, ['polled'])).toEqual({ polled: { likes: 0, views: 10 * clients.length } });
    }
  });

  it('HAProxy spreads WebSockets over all gateways without a cookie', async () => {
    const sockets = Array.from({ length: 20 }, () => connect(url));
    await Promise.all(sockets.map(untilConnected));
    const each = await Promise.all(gateways.map(socketsOf));
    expect(Math.min(...each)).toBeGreaterThanOrEqual(5);
    expect(each[0]! + each[1]!).toBe(sockets.length);
  });

  it('HAProxy sets a cookie for long-polling only', async () => {
    const cookieOf = async (path: string): Promise<string | null> => {
      const answer = await fetch(url + path);
      await answer.text();
      return answer.headers.get('set-cookie');
    };
    expect(await cookieOf('/socket.io/?EIO=4&transport=polling')).toMatch(
      /^tallycast=g[12]; path=\/; HttpOnly; SameSite=Lax$/,
    );
    expect(await cookieOf('/v1/counts?posts=a')).toBeNull();
    expect(await cookieOf('/healthz')).toBeNull();
  });

  it('a client behind HAProxy is limited by its own address', async () => {
    const stream = (address: string): Promise<Response> =>
      fetch(`${url}/v1/stream?posts=a`, { headers: { 'X-Forwarded-For': address } });
    // Loopback is trusted here, so its X-Forwarded-For counts.
    const same = await Promise.all(Array.from({ length: 3 }, () => stream('203.0.113.1')));
    expect(same.map(({ status }) => status).sort()).toContain(429);
    expect((await stream('203.0.113.2')).status).toBe(200);
    const [spared, ...others] = await Promise.all(Array.from({ length: 5 }, () => fetch(`${url}/v1/stream?posts=a`)));
    expect(others.map(({ status }) => status)).toEqual(others.map(() => spared!.status));
  });
});

describe.each([
  ['drains', 'SIGTERM', [BYE]],
  ['is killed', 'SIGKILL', []],
] as const)('when a gateway behind HAProxy %s', (_, signal, byes) => {
  it(`clients of a gateway behind HAProxy that stops reconnect to the other one, and no operation is lost or counted twice (TEST_SEED=${SEED})`, async () => {
    const posts = POSTS.map((post) => `${signal}-${post}`);
    const random = new Random(SEED);
    const crowd = new Crowd(url, SOCKETS, posts, random, { ...FAST_RECONNECT, ...COOKIES });
    const enough = crowd.untilAcknowledgements(1000);
    crowd.act();
    await enough;
    const [gone, other] = gateways as [GatewayProcess, GatewayProcess];
    expect(await socketsOf(gone)).toBeGreaterThan(0);

    const ended = gone.kill(signal);
    await untilInState('g1', 'DOWN');
    expect(await ended).toBe(signal === 'SIGTERM' ? 0 : null);
    await until(async () => (await socketsOf(other)) === SOCKETS, 'all sockets are on the other one');
    await crowd.untilAcknowledgements(SOCKETS);
    crowd.stop();
    await crowd.untilAcknowledged();
    expect(await readTotals(url, posts)).toEqual(crowd.sent);
    const byeReceived = crowd.clients.map((client) => client.byes).filter((each) => each.length > 0);
    expect(byeReceived.length > 0).toBe(byes.length > 0);
    for (const each of byeReceived) expect(each).toEqual(byes);

    gateways[0] = await start(String(gone.port));
    await untilInState('g1', 'UP');
    await until(async () => (await readStatus(`${url}/readyz`)) === 200, 'the balancer answers');
    expect(await readTotals(gateways[0].url, posts)).toEqual(crowd.sent);
  });
});

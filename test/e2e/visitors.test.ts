import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { EventSource } from 'eventsource';
import type { MineEvent } from '../../src/protocol/messages.js';
import { type Client, closeClients, connect, expectOk } from '../support/clients.js';
import { postEvents, readCount } from '../support/events.js';
import { type GatewayProcess, startGateway, stopAll } from '../support/gateway-process.js';
import { untilMetric } from '../support/metrics.js';
import { startRedis, stopRedis } from '../support/redis-server.js';
import { until } from '../support/until.js';

const SETTINGS = {
  ANONYMOUS_ACTORS: 'address',
  TRUST_PROXY: '127.0.0.1',
  METRICS: 'likes:toggle,views:unique',
  MAX_NEW_ACTORS_PER_ADDRESS: '3',
};
const FIREFOX = 'Mozilla/5.0 (X11; Linux x86_64; rv:133.0) Gecko/20100101 Firefox/133.0';
const SAFARI = 'Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 Version/18.1 Safari/605.1.15';
const JSON_TYPE = { 'Content-Type': 'application/json' };
const HOME = '2001:db8:1:2::7';

afterAll(async () => {
  await closeClients();
  await stopAll();
  await stopRedis();
});

/** The headers that a proxy passes on. */
function from(address: string, userAgent = FIREFOX): Record<string, string> {
  return { 'X-Forwarded-For': address, 'User-Agent': userAgent };
}

function open({ url }: GatewayProcess, headers: Record<string, string>, auth = {}): Client {
  return connect(url, auth, { extraHeaders: headers });
}

async function put({ url }: GatewayProcess, post: string, metric: string, headers: object): Promise<number> {
  const init = { method: 'PUT', headers: { ...JSON_TYPE, ...headers }, body: '{"action":"increment"}' };
  const response = await fetch(`${url}/v1/${post}/${metric}`, init);
  const body = (await response.json()) as { count: number; code?: string };
  if (!response.ok) throw new Error(body.code);
  return body.count;
}

describe('visitors of two gateways on one Redis', () => {
  let one: GatewayProcess;
  let other: GatewayProcess;

  beforeAll(async () => {
    const { url } = await startRedis();
    const settings = { ...SETTINGS, REDIS_URL: url };
    [one, other] = await Promise.all([startGateway(settings), startGateway(settings)]);
  });

  it('a visitor is one actor over sockets and HTTP, on both gateways, in its network and browser', async () => {
    const liked = expectOk(await open(one, from(HOME)).emitWithAck('like', { post: 'x' }));
    expect(liked).toMatchObject({ applied: true, counts: { likes: 1 } });
    expect(await put(other, 'x', 'likes', from('2001:db8:1:2:ffff::1'))).toBe(1);
    expect(await put(other, 'x', 'likes', from(HOME, SAFARI))).toBe(2);
    expect(await put(one, 'x', 'likes', from('2001:db8:1:3::7'))).toBe(3);
    const again = open(other, from(HOME));
    const { counts } = expectOk(await again.emitWithAck('subscribe', { posts: ['x'] }));
    expect(counts[0]).toMatchObject({ likes: 3, mine: ['likes'] });
  });

  it('a visitor’s tabs get `mine`, and it counts once in a unique metric by whatever way it comes', async () => {
    const tab = open(one, from(HOME));
    const mine = new Promise<MineEvent>((resolve) => tab.on('mine', resolve));
    expectOk(await tab.emitWithAck('view', { post: 'y' }));
    expect(await put(other, 'y', 'views', from(HOME))).toBe(1);
    await postEvents(other.url, [{ post: 'y' }], { ...JSON_TYPE, ...from(HOME) });
    await fetch(`${other.url}/view?post=y`, { method: 'POST', headers: from(HOME) });
    await fetch(`${one.url}/v1/y/views.gif`, { headers: from(HOME) });
    expect(await readCount(one.url, 'y', 'views')).toBe(1);
    await fetch(`${one.url}/v1/y/views.gif`, { headers: from(HOME, SAFARI) });
    expect(await readCount(one.url, 'y', 'views')).toBe(2);
    await put(other, 'y', 'likes', from(HOME));
    expect(await mine).toEqual({ post: 'y', metric: 'likes', on: true });
  });

  it('the tabs and streams of a visitor at both gateways are one person in live, and another browser is another one', async () => {
    const headers = from('203.0.113.5');
    const sockets = [open(one, headers), open(other, headers), open(one, from('203.0.113.5', SAFARI))];
    for (const socket of sockets) expectOk(await socket.emitWithAck('subscribe', { posts: ['z'] }));
    const stream = new EventSource(`${other.url}/v1/stream?posts=z`, {
      fetch: (url, init) => fetch(url, { ...init, headers: { ...init.headers, ...headers } }),
    });
    await untilMetric(other.url, 'tallycast_streams', 1);
    for (const { url } of [one, other]) {
      await until(async () => (await readCount(url, 'z', 'live')) === 2, 'both gateways count two people');
    }
    stream.close();
  });

  it('a client that names itself is not a visitor, whatever its name', async () => {
    const names = [HOME, FIREFOX, `["2001:db8:1:2::/64",${JSON.stringify(FIREFOX)}]`];
    for (const [i, actor] of names.entries()) {
      expect(await put(one, 'named', 'likes', { ...from(`203.0.113.${i}`), 'Actor-Id': actor })).toBe(i + 1);
    }
    expect(await put(one, 'named', 'likes', from(HOME))).toBe(names.length + 1);
  });

  it('an operation that is resent from another address takes effect once', async () => {
    const auth = { session: '0123456789abcdef' };
    for (const [i, address] of ['198.51.100.1', '198.51.100.2'].entries()) {
      const answer = await open(one, from(address), auth).emitWithAck('view', { post: 'moved', seq: 1 });
      expect(answer).toMatchObject({ ok: true, duplicate: i === 1, counts: { views: 1 } });
    }
  });

  it('one address is as many new visitors as MAX_NEW_ACTORS_PER_ADDRESS allows, by whatever browsers', async () => {
    const like = (n: number): Promise<number> =>
      put(one, 'many', 'likes', from('192.0.2.1', `Mozilla/5.0 (Browser ${n})`));
    for (let n = 1; n <= 3; n++) expect(await like(n)).toBe(n);
    await expect(like(4)).rejects.toThrow('RATE_LIMITED');
    expect(await like(3)).toBe(3);
  });

  it('neither an address nor a user agent is in the log', () => {
    const log = [...one.log, ...other.log].filter((line) => !line.includes('192.0.2.1')).join('\n');
    for (const secret of ['2001:db8:1', '203.0.113', '198.51.100', 'Firefox', 'Safari'])
      expect(log).not.toContain(secret);
  });
});

it('a visitor keeps its actor when its gateway restarts, and its address and browser are in no file', async () => {
  const gateway = await startGateway(SETTINGS);
  const { dataDir } = gateway;
  expect(await put(gateway, 'x', 'likes', from(HOME))).toBe(1);
  await gateway.kill('SIGTERM');
  const again = await startGateway({ ...SETTINGS, DATA_DIR: dataDir });
  expect(await put(again, 'x', 'likes', from(HOME))).toBe(1);
  await again.kill('SIGTERM');
  expect(readdirSync(dataDir)).toContain('visitor-secrets.json');
  for (const name of readdirSync(dataDir)) {
    const bytes = readFileSync(join(dataDir, name)).toString('latin1');
    expect([name, bytes.includes('2001:db8'), bytes.includes('Firefox')]).toEqual([name, false, false]);
  }
  writeFileSync(join(dataDir, 'visitor-secrets.json'), '{');
  await expect(startGateway({ ...SETTINGS, DATA_DIR: dataDir })).rejects.toThrow('visitor-secrets.json is damaged');
  await startGateway({ ...SETTINGS, ANONYMOUS_ACTORS: 'connection', DATA_DIR: dataDir });
  expect(readdirSync(dataDir)).not.toContain('visitor-secrets.json');
});

import { afterAll, describe, expect, it } from '@jest/globals';
import { SignJWT } from 'jose';
import { type Auth, type Client, closeClients, connect, expectOk } from '../support/clients.js';
import { type GatewayProcess, startGateway, stopAll } from '../support/gateway-process.js';
import { readMetrics } from '../support/metrics.js';
import { startRedis, stopRedis } from '../support/redis-server.js';

const SECRET = 'a-secret-of-at-least-32-characters';
const UP = { method: 'PUT', body: '{"action":"increment"}' };
/** Stretched time, so that no rate refills during a test, even on a slow machine. */
const SLOW = { timeScale: 1_000 };
const MINUTE_MS = 60_000;

interface Rejection {
  readonly code: string;
  readonly message: string;
  readonly retryAfterMs: number;
}

afterAll(async () => {
  await closeClients();
  await stopAll();
});

/** A gateway that trusts X-Forwarded-For, because loopback is exempt from the limits. */
function gatewayWith(env: Record<string, string>): Promise<GatewayProcess> {
  return startGateway({ TRUST_PROXY: 'loopback', FLUSH_MS: '0', ...env }, SLOW);
}

function clientAt(address: string, { url }: GatewayProcess, auth: Auth = {}): Client {
  return connect(url, auth, { extraHeaders: { 'X-Forwarded-For': address } });
}

async function put(
  { url }: GatewayProcess,
  address: string,
  path: string,
  headers: Record<string, string> = {},
): Promise<number> {
  const response = await fetch(`${url}/v1/${path}`, { ...UP, headers: { 'X-Forwarded-For': address, ...headers } });
  await response.text();
  return response.status;
}

/** Resolves with the error code of an event. */
function expectRejection(answer: { readonly ok: boolean }): Rejection {
  expect(answer.ok).toBe(false);
  return (answer as unknown as { readonly error: Rejection }).error;
}

async function suspiciousAt({ url }: GatewayProcess, kind: string): Promise<number> {
  return (await readMetrics(url)).get(`tallycast_suspicious_total{kind="${kind}"}`) ?? 0;
}

function findLines({ log }: GatewayProcess, address: string): string[] {
  return log.filter((line) => line.includes(address));
}

describe('an add', () => {
  it('an add of 1,000 costs as much of the rate of its connection as 50 views', async () => {
    const gateway = await gatewayWith({});
    const adder = clientAt('203.0.113.1', gateway);
    expectOk(await adder.emitWithAck('add', { post: 'sum', metric: 'views', by: 1_000 }));
    const rejected = expectRejection(await adder.emitWithAck('view', { post: 'sum' }));
    expect(rejected.code).toBe('RATE_LIMITED');
    const small = clientAt('203.0.113.2', gateway);
    for (let i = 0; i < 50; i++) expectOk(await small.emitWithAck('add', { post: 'sum', metric: 'views', by: 20 }));
    expect(expectRejection(await small.emitWithAck('view', { post: 'sum' })).code).toBe('RATE_LIMITED');
  });

  it('an add of 1,000 is accepted even if the whole burst is less than it costs', async () => {
    const gateway = await gatewayWith({ MAX_OPS_PER_CONNECTION: '10', MAX_OPS_PER_ADDRESS: '10' });
    const adder = clientAt('203.0.113.1', gateway);
    expectOk(await adder.emitWithAck('add', { post: 'sum', metric: 'views', by: 1_000 }));
    expect(expectRejection(await adder.emitWithAck('view', { post: 'sum' })).code).toBe('RATE_LIMITED');
  });

  it('an add costs as much of the rate of its address', async () => {
    const gateway = await gatewayWith({ MAX_OPS_PER_ADDRESS: '60' });
    const add = (client: Client, by: number) => client.emitWithAck('add', { post: 'sum', metric: 'views', by });
    const clients = [1, 2, 3].map(() => clientAt('203.0.113.1', gateway));
    expectOk(await add(clients[0]!, 1_000));
    expect(expectRejection(await add(clients[1]!, 1_000)).code).toBe('RATE_LIMITED');
    expectOk(await add(clients[2]!, 200));
  });
});

describe('an address that has started its limit of new posts', () => {
  it('an address at its limit of new posts starts no more, over sockets and HTTP, and still acts on existing posts', async () => {
    const gateway = await gatewayWith({ MAX_NEW_POSTS_PER_ADDRESS: '10' });
    const [inventor, elsewhere] = ['203.0.113.1', '203.0.113.2'];
    for (const post of ['old-1', 'old-2']) expect(await put(gateway, elsewhere, `${post}/views`)).toBe(200);

    const watching = clientAt(inventor, gateway);
    expectOk(await watching.emitWithAck('subscribe', { posts: ['old-1'] }));
    for (let i = 0; i < 10; i++) expectOk(await watching.emitWithAck('view', { post: `made-up-${i}` }));
    for (let i = 0; i < 10; i++) expectOk(await watching.emitWithAck('view', { post: `made-up-${i}` }));
    expectOk(await watching.emitWithAck('like', { post: 'old-1' }));
    expectOk(await watching.emitWithAck('like', { post: 'old-2' }));

    const { code, message, retryAfterMs } = expectRejection(await watching.emitWithAck('view', { post: 'made-up-10' }));
    expect({ code, message }).toEqual({ code: 'RATE_LIMITED', message: expect.stringContaining('new posts') });
    expect(retryAfterMs).toBeGreaterThan(0);
    expect(retryAfterMs).toBeLessThanOrEqual(MINUTE_MS);
    expect(await put(gateway, inventor, 'made-up-11/views')).toBe(429);
    expect(await put(gateway, inventor, 'old-2/views')).toBe(200);
    // A later operation must not overtake the rejected one.
    expect(expectRejection(await watching.emitWithAck('like', { post: 'old-2' })).code).toBe('RATE_LIMITED');
    expect(await put(gateway, elsewhere, 'made-up-12/views')).toBe(200);

    expect(await suspiciousAt(gateway, 'new-posts')).toBe(2);
    const lines = findLines(gateway, inventor);
    expect(lines).toHaveLength(1);
    expect(lines[0]).toContain('MAX_NEW_POSTS_PER_ADDRESS');
  });

  it('an address that sends many new posts before the first is counted starts only a few more than its limit', async () => {
    const limits = { MAX_NEW_POSTS_PER_ADDRESS: '10', MAX_OPS_PER_CONNECTION: '0' };
    const gateway = await gatewayWith({ ...limits, FLUSH_MS: '1' });
    const inventor = clientAt('203.0.113.1', gateway);
    const views = Array.from({ length: 200 }, (_, i) => inventor.emitWithAck('view', { post: `at-once-${i}` }));
    for (const answer of await Promise.all(views)) expectOk(answer);
    const { retryAfterMs } = expectRejection(await inventor.emitWithAck('view', { post: 'one-more' }));
    // Its debt is at most one burst.
    expect(retryAfterMs).toBeGreaterThan(MINUTE_MS);
    expect(retryAfterMs).toBeLessThanOrEqual(MINUTE_MS + MINUTE_MS / 10);
  });

  it('an address at its limit may act on a post that the gateway has sent as counted to a viewer', async () => {
    const before = await gatewayWith({});
    expect(await put(before, '203.0.113.2', 'shown/views')).toBe(200);
    await before.kill('SIGKILL');
    const gateway = await gatewayWith({ MAX_NEW_POSTS_PER_ADDRESS: '1', DATA_DIR: before.dataDir });
    const client = clientAt('203.0.113.1', gateway);
    expectOk(await client.emitWithAck('view', { post: 'made-up-1' }));
    expectOk(await client.emitWithAck('subscribe', { posts: ['shown', 'never-counted'] }));
    expectOk(await client.emitWithAck('view', { post: 'shown' }));
    expect(expectRejection(await client.emitWithAck('view', { post: 'never-counted' })).code).toBe('RATE_LIMITED');
  });
});

describe('with several gateways on one Redis', () => {
  afterAll(stopRedis);

  it('a post that was counted through another gateway is not new', async () => {
    const redis = await startRedis();
    // Redis keeps true time, so gateways on it are stretched by no more than that. A token takes three minutes.
    const env = { TRUST_PROXY: 'loopback', REDIS_URL: redis.url, MAX_NEW_POSTS_PER_ADDRESS: '1' };
    const [one, other] = await Promise.all([1, 2].map(() => startGateway(env, { timeScale: 3 })));
    const posts = Array.from({ length: 5 }, (_, i) => `shared-${i}`);
    for (const post of posts) expect(await put(one!, '127.0.0.1', `${post}/views`)).toBe(200);
    for (const post of posts) expect(await put(other!, '203.0.113.1', `${post}/views`)).toBe(200);
    expect(await put(other!, '203.0.113.1', 'made-up-1/views')).toBe(200);
    expect(await put(other!, '203.0.113.1', 'made-up-2/views')).toBe(429);
    expect(await put(one!, '203.0.113.1', 'made-up-3/views')).toBe(200);
  });
});

describe('without tokens an address at its limit of new actors', () => {
  it('without tokens, an address at its limit of new actors gets errors for likes of further actors, named or not', async () => {
    const gateway = await gatewayWith({ MAX_NEW_ACTORS_PER_ADDRESS: '4' });
    const address = '203.0.113.1';
    const likeAs = (actor: string): Promise<number> => put(gateway, address, 'idol/likes', { 'Actor-Id': actor });
    const fan = clientAt(address, gateway, { actor: 'fan-0' });
    expectOk(await fan.emitWithAck('like', { post: 'idol' }));
    for (const actor of ['fan-0', 'fan-1', 'fan-2', 'fan-1']) expect(await likeAs(actor)).toBe(200);
    const nameless = clientAt(address, gateway);
    for (const event of ['like', 'unlike', 'like'] as const)
      expectOk(await nameless.emitWithAck(event, { post: 'idol' }));

    const late = clientAt(address, gateway);
    // A view stores no actor.
    expectOk(await late.emitWithAck('view', { post: 'idol' }));
    const { code, message } = expectRejection(await late.emitWithAck('like', { post: 'idol' }));
    expect({ code, message }).toEqual({ code: 'RATE_LIMITED', message: expect.stringContaining('new actors') });
    expect(await likeAs('fan-3')).toBe(429);
    expect(await likeAs('fan-2')).toBe(200);
    expect(await put(gateway, '203.0.113.2', 'idol/likes', { 'Actor-Id': 'fan-3' })).toBe(200);

    expect(await suspiciousAt(gateway, 'new-actors')).toBe(2);
    const lines = findLines(gateway, address);
    expect(lines).toHaveLength(1);
    expect(lines[0]).toContain('MAX_NEW_ACTORS_PER_ADDRESS');
  });
});

describe('an address that keeps looking up posts', () => {
  it('an address may look up as many posts as its connections may watch together, over sockets and streams, and more later', async () => {
    const gateway = await gatewayWith({ MAX_CONNECTIONS_PER_ADDRESS: '4', MAX_POSTS_PER_CONNECTION: '50' });
    const address = '203.0.113.1';
    const posts = (from: number): string[] => Array.from({ length: 50 }, (_, i) => `made-up-${from + i}`);
    const stream = async (from: number): Promise<number> => {
      const headers = { 'X-Forwarded-For': address };
      const response = await fetch(`${gateway.url}/v1/stream?posts=${posts(from).join(',')}`, { headers });
      await response.body!.cancel();
      return response.status;
    };
    const client = clientAt(address, gateway);
    for (let from = 0; from < 150; from += 50) {
      expectOk(await client.emitWithAck('subscribe', { posts: posts(from) }));
      expectOk(await client.emitWithAck('unsubscribe', { posts: posts(from) }));
    }
    expect(await stream(150)).toBe(200);
    const { code, retryAfterMs } = expectRejection(await client.emitWithAck('subscribe', { posts: posts(200) }));
    expect(code).toBe('RATE_LIMITED');
    // All 200 take twenty seconds to refill, 50 take five.
    expect(retryAfterMs).toBeGreaterThan(0);
    expect(retryAfterMs).toBeLessThanOrEqual(5_000);
    expect(await stream(250)).toBe(429);
    const elsewhere = clientAt('203.0.113.2', gateway);
    expectOk(await elsewhere.emitWithAck('subscribe', { posts: posts(200) }));
    expect(await suspiciousAt(gateway, 'lookups')).toBe(2);
    expect(findLines(gateway, address)).toHaveLength(1);
  });
});

describe('limits on new posts and actors', () => {
  it('limits on new posts and actors do not apply to loopback', async () => {
    const gateway = await gatewayWith({ MAX_NEW_POSTS_PER_ADDRESS: '1', MAX_NEW_ACTORS_PER_ADDRESS: '1' });
    for (let i = 0; i < 10; i++) {
      const client = connect(gateway.url, { actor: `own-${i}` });
      expectOk(await client.emitWithAck('like', { post: `own-${i}` }));
    }
  });

  it('limits on new posts and actors are switched off by 0', async () => {
    const gateway = await gatewayWith({ MAX_NEW_POSTS_PER_ADDRESS: '0', MAX_NEW_ACTORS_PER_ADDRESS: '0' });
    const statuses = Array.from({ length: 400 }, (_, i) =>
      put(gateway, '203.0.113.1', `lifted-${i}/likes`, { 'Actor-Id': `fan-${i}` }),
    );
    expect(new Set(await Promise.all(statuses))).toEqual(new Set([200]));
  });

  it('limits on new actors do not apply to actors with tokens', async () => {
    const gateway = await gatewayWith({ JWT_SECRET: SECRET, MAX_NEW_ACTORS_PER_ADDRESS: '1' });
    for (let i = 0; i < 5; i++) {
      const token = await new SignJWT({})
        .setProtectedHeader({ alg: 'HS256' })
        .setSubject(`reader-${i}`)
        .sign(new TextEncoder().encode(SECRET));
      expect(await put(gateway, '203.0.113.1', 'idol/likes', { Authorization: `Bearer ${token}` })).toBe(200);
    }
  });
});

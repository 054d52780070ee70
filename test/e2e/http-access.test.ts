import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { type JWTPayload, SignJWT } from 'jose';
import { closeClients, connect } from '../support/clients.js';
import { type GatewayProcess, startGateway, stopAll } from '../support/gateway-process.js';
import { until } from '../support/until.js';

const SECRET = 'a secret of at least thirty-two bytes';
const UP = { method: 'PUT', body: '{"action":"increment"}' };

afterAll(stopAll);

function token(subject: string, expiresInS = 600, secret = SECRET): Promise<string> {
  return new SignJWT({})
    .setProtectedHeader({ alg: 'HS256' })
    .setSubject(subject)
    .setExpirationTime(Math.floor(Date.now() / 1000) + expiresInS)
    .sign(new TextEncoder().encode(secret));
}

function bearer(text: string): Record<string, string> {
  return { Authorization: `Bearer ${text}` };
}

async function readResponse(response: Response): Promise<{ status: number; body: unknown }> {
  return { status: response.status, body: await response.json() };
}

const UNAUTHORIZED = { status: 401, body: { code: 'UNAUTHORIZED', message: expect.any(String), retryable: false } };

describe('where tokens are verified', () => {
  let gateway: GatewayProcess;

  beforeAll(async () => {
    gateway = await startGateway({ JWT_SECRET: SECRET, JWT_CLOCK_TOLERANCE_S: '0' });
  });

  it('a write without a token is UNAUTHORIZED', async () => {
    const response = await fetch(`${gateway.url}/v1/safe/views`, UP);
    expect(response.headers.get('www-authenticate')).toBe('Bearer');
    expect(await readResponse(response)).toEqual(UNAUTHORIZED);
    const named = { ...UP, headers: { 'Actor-Id': 'ada' } };
    expect(await readResponse(await fetch(`${gateway.url}/v1/safe/likes`, named))).toEqual(UNAUTHORIZED);
  });

  it('the subject of the token is the actor, whatever Actor-Id says', async () => {
    for (const actor of ['ada', 'grace']) {
      const headers = { ...bearer(await token('ada')), 'Actor-Id': actor };
      const answer = await readResponse(await fetch(`${gateway.url}/v1/subject/likes`, { ...UP, headers }));
      expect(answer).toMatchObject({ status: 200, body: { count: 1 } });
    }
  });

  it('a forged, expired or malformed token is UNAUTHORIZED', async () => {
    const wrong = [await token('ada', 600, `${SECRET}?`), await token('ada', -60), 'abc', ''];
    for (const text of wrong) {
      const answer = await readResponse(await fetch(`${gateway.url}/v1/safe/likes`, { ...UP, headers: bearer(text) }));
      expect(answer).toEqual(UNAUTHORIZED);
    }
  });

  it('a number as subject is the same actor as its text, over HTTP and sockets', async () => {
    const numbered = new SignJWT(JSON.parse('{"sub":42}') as JWTPayload).setProtectedHeader({ alg: 'HS256' });
    const number = await numbered.sign(new TextEncoder().encode(SECRET));
    const like = (post: string, auth: object) => connect(gateway.url, auth).emitWithAck('like', { post });
    expect(await like('numbered', { token: number })).toMatchObject({ ok: true, applied: true });
    expect(await like('numbered', { token: await token('42') })).toMatchObject({ ok: true, applied: false });
    const put = await fetch(`${gateway.url}/v1/numbered/likes`, { ...UP, headers: bearer(number) });
    expect(await readResponse(put)).toMatchObject({ status: 200, body: { count: 1 } });
    await closeClients();
  });

  it('a rejected token is logged with its fault and the remedy, and without the token', async () => {
    const expired = await token('ada', -60);
    const error = {
      code: 'UNAUTHORIZED',
      message: expect.stringMatching(/^the token has expired, 6\d s ago/) as unknown,
    };
    const put = await fetch(`${gateway.url}/v1/safe/likes`, { ...UP, headers: bearer(expired) });
    expect(await readResponse(put)).toMatchObject({ status: 401, body: error });
    const socket = connect(gateway.url, { token: expired });
    const refused = await new Promise<{ data?: unknown }>((resolve) => socket.once('connect_error', resolve));
    expect(refused.data).toMatchObject(error);
    await closeClients();
    const lines = gateway.log.filter((line) => line.includes('rejected a token: the token has expired'));
    expect(lines).toEqual([expect.stringContaining('JWT_CLOCK_TOLERANCE_S is 0')]);
    expect(gateway.log.join()).not.toContain(expired.split('.')[1]);
  });

  it('a proxy that TRUST_PROXY does not list is logged once, however many requests it forwards', async () => {
    const headers = { 'X-Forwarded-For': '198.51.100.1' };
    for (let i = 0; i < 3; i++) expect((await fetch(`${gateway.url}/v1/safe/likes`, { headers })).status).toBe(200);
    const socket = connect(gateway.url, {}, { extraHeaders: headers });
    await new Promise<void>((resolve) => socket.once('connect', resolve));
    await closeClients();
    const lines = gateway.log.filter((line) => line.includes('sends X-Forwarded-For'));
    expect(lines).toEqual([expect.stringContaining('if it is your proxy, set TRUST_PROXY=loopback')]);
  });

  it('reads need no token', async () => {
    for (const path of ['/v1/safe/likes', '/v1/counts?posts=safe']) {
      expect((await fetch(gateway.url + path)).status).toBe(200);
    }
  });

  it('a stream ends when its token expires', async () => {
    const headers = bearer(await token('ada', 2));
    const response = await fetch(`${gateway.url}/v1/stream?posts=brief`, { headers });
    const text = await response.text();
    expect(text).toContain('event: counts\n');
    expect(text).toMatch(/retry: 0\nevent: bye\ndata: \{"reason":"the token has expired","retryAfterMs":0\}\n\n$/);
  });
});

describe('a gateway with REQUIRE_TOKEN_TO_READ', () => {
  let gateway: GatewayProcess;

  beforeAll(async () => {
    gateway = await startGateway({ JWT_SECRET: SECRET, REQUIRE_TOKEN_TO_READ: 'true' });
  });

  it.each([
    '/v1/secret/likes',
    '/v1/secret/likes.svg',
    '/v1/counts?posts=secret',
    '/v1/stream?posts=secret',
    '/v1/regions',
  ])('with REQUIRE_TOKEN_TO_READ, GET %s needs a token', async (path) => {
    expect(await readResponse(await fetch(gateway.url + path))).toEqual(UNAUTHORIZED);
    const response = await fetch(gateway.url + path, { headers: bearer(await token('ada')) });
    expect(response.status).toBe(200);
    await response.body?.cancel();
  });

  it('with REQUIRE_TOKEN_TO_READ, no cache keeps a badge for others', async () => {
    const { headers } = await fetch(`${gateway.url}/v1/secret/likes.svg`, { headers: bearer(await token('ada')) });
    expect(headers.get('cache-control')).toBe('private, max-age=1');
  });
});

describe('limits by address', () => {
  let gateway: GatewayProcess;

  beforeAll(async () => {
    gateway = await startGateway({
      TRUST_PROXY: '127.0.0.1',
      MAX_OPS_PER_ADDRESS: '1',
      MAX_CONNECTIONS_PER_ADDRESS: '1',
    });
  });

  function from(address: string): Record<string, string> {
    return { 'X-Forwarded-For': address };
  }

  async function putAtOnce(requests: number, address: string): Promise<Response[]> {
    const init = { ...UP, headers: from(address) };
    return Promise.all(Array.from({ length: requests }, () => fetch(`${gateway.url}/v1/limited/views`, init)));
  }

  it('operations of an address beyond the rate are rejected with the time to wait, and not counted', async () => {
    const responses = await putAtOnce(10, '203.0.113.1');
    const done = responses.filter(({ status }) => status === 200).length;
    const rejected = responses.find(({ status }) => status === 429)!;
    expect(done).toBeGreaterThanOrEqual(1);
    expect(rejected.headers.get('retry-after')).toBe('1');
    expect(await rejected.json()).toEqual({
      code: 'RATE_LIMITED',
      message: 'too many operations; slow down',
      retryable: true,
      retryAfterMs: expect.any(Number),
    });
    const counted = (await (await fetch(`${gateway.url}/v1/limited/views`)).json()) as { count: number };
    expect(counted.count).toBe(done);
  });

  it('each address has limits of its own', async () => {
    await putAtOnce(5, '203.0.113.2');
    const [other] = await putAtOnce(1, '203.0.113.3');
    expect(other!.status).toBe(200);
  });

  it('loopback has no limits', async () => {
    const responses = await putAtOnce(10, '127.0.0.1');
    expect(new Set(responses.map(({ status }) => status))).toEqual(new Set([200]));
  });

  it('the limit of operations does not apply to reads', async () => {
    const init = { headers: from('203.0.113.4') };
    const reads = Array.from({ length: 10 }, () => fetch(`${gateway.url}/v1/limited/views`, init));
    expect(new Set((await Promise.all(reads)).map(({ status }) => status))).toEqual(new Set([200]));
  });

  it('a stream beyond the limit of its address is rejected until another ends', async () => {
    const open = () => fetch(`${gateway.url}/v1/stream?posts=narrow`, { headers: from('203.0.113.5') });
    const first = await open();
    expect(first.status).toBe(200);
    const second = await open();
    expect(second.headers.get('retry-after')).toBe('10');
    expect(await readResponse(second)).toMatchObject({
      status: 429,
      body: { code: 'RATE_LIMITED', retryAfterMs: 10_000 },
    });
    await first.body!.cancel();
    await until(async () => {
      const next = await open();
      await next.body!.cancel();
      return next.status === 200;
    }, 'room for another');
  });

  it('a stream that is rejected for another reason does not count towards the limit', async () => {
    const init = { headers: from('203.0.113.6') };
    for (let i = 0; i < 3; i++) expect((await fetch(`${gateway.url}/v1/stream`, init)).status).toBe(400);
    const response = await fetch(`${gateway.url}/v1/stream?posts=a`, init);
    expect(response.status).toBe(200);
    await response.body!.cancel();
  });

  it('the gateway ignores X-Forwarded-For of peers outside TRUST_PROXY', async () => {
    const direct = await startGateway({ MAX_OPS_PER_ADDRESS: '1' });
    const init = { ...UP, headers: from('203.0.113.1') };
    const responses = await Promise.all(Array.from({ length: 5 }, () => fetch(`${direct.url}/v1/a/views`, init)));
    expect(new Set(responses.map(({ status }) => status))).toEqual(new Set([200]));
  });
});

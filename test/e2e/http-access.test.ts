import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { SignJWT } from 'jose';
import { type GatewayProcess, startGateway, stopAll } from '../support/gateway-process.js';
import { until } from '../support/until.js';

const SECRET = 'a secret of the tests, and of nobody else';
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

async function answerOf(response: Response): Promise<{ status: number; body: unknown }> {
  return { status: response.status, body: await response.json() };
}

const UNAUTHORIZED = { status: 401, body: { code: 'UNAUTHORIZED', message: expect.any(String), retryable: false } };

describe('where tokens are verified', () => {
  let gateway: GatewayProcess;

  beforeAll(async () => {
    gateway = await startGateway({ JWT_SECRET: SECRET });
  });

  it('acting needs one', async () => {
    const response = await fetch(`${gateway.url}/v1/safe/views`, UP);
    expect(response.headers.get('www-authenticate')).toBe('Bearer');
    expect(await answerOf(response)).toEqual(UNAUTHORIZED);
    const named = { ...UP, headers: { 'Actor-Id': 'ada' } };
    expect(await answerOf(await fetch(`${gateway.url}/v1/safe/likes`, named))).toEqual(UNAUTHORIZED);
  });

  it('its subject is the actor, whatever Actor-Id says', async () => {
    for (const actor of ['ada', 'grace']) {
      const headers = { ...bearer(await token('ada')), 'Actor-Id': actor };
      const answer = await answerOf(await fetch(`${gateway.url}/v1/subject/likes`, { ...UP, headers }));
      expect(answer).toMatchObject({ status: 200, body: { count: 1 } });
    }
  });

  it('one that is forged, expired or no token is refused', async () => {
    const wrong = [await token('ada', 600, `${SECRET}?`), await token('ada', -60), 'abc', ''];
    for (const text of wrong) {
      const answer = await answerOf(await fetch(`${gateway.url}/v1/safe/likes`, { ...UP, headers: bearer(text) }));
      expect(answer).toEqual(UNAUTHORIZED);
    }
  });

  it('watching needs none', async () => {
    for (const path of ['/v1/safe/likes', '/v1/counts?posts=safe']) {
      expect((await fetch(gateway.url + path)).status).toBe(200);
    }
  });

  it('a stream ends with its token', async () => {
    const headers = bearer(await token('ada', 2));
    const response = await fetch(`${gateway.url}/v1/stream?posts=brief`, { headers });
    const text = await response.text();
    expect(text).toContain('event: counts\n');
    expect(text).toMatch(/retry: 0\nevent: bye\ndata: \{"reason":"the token has expired","retryAfterMs":0\}\n\n$/);
  });
});

describe('a private gateway', () => {
  let gateway: GatewayProcess;

  beforeAll(async () => {
    gateway = await startGateway({ JWT_SECRET: SECRET, REQUIRE_TOKEN_TO_READ: 'true' });
  });

  it.each(['/v1/secret/likes', '/v1/counts?posts=secret', '/v1/stream?posts=secret', '/v1/regions'])(
    'shows %s to those with a token only',
    async (path) => {
      expect(await answerOf(await fetch(gateway.url + path))).toEqual(UNAUTHORIZED);
      const response = await fetch(gateway.url + path, { headers: bearer(await token('ada')) });
      expect(response.status).toBe(200);
      await response.body?.cancel();
    },
  );
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

  async function sameTime(requests: number, address: string): Promise<Response[]> {
    const init = { ...UP, headers: from(address) };
    return Promise.all(Array.from({ length: requests }, () => fetch(`${gateway.url}/v1/limited/views`, init)));
  }

  it('refuse operations beyond the rate, count none of them, and say when to retry', async () => {
    const responses = await sameTime(10, '203.0.113.1');
    const done = responses.filter(({ status }) => status === 200).length;
    const refused = responses.find(({ status }) => status === 429)!;
    expect(done).toBeGreaterThanOrEqual(1);
    expect(refused.headers.get('retry-after')).toBe('1');
    expect(await refused.json()).toEqual({
      code: 'RATE_LIMITED',
      message: 'too many operations; slow down',
      retryable: true,
      retryAfterMs: expect.any(Number),
    });
    const counted = (await (await fetch(`${gateway.url}/v1/limited/views`)).json()) as { count: number };
    expect(counted.count).toBe(done);
  });

  it('are of each address by itself', async () => {
    await sameTime(5, '203.0.113.2');
    const [other] = await sameTime(1, '203.0.113.3');
    expect(other!.status).toBe(200);
  });

  it('spare loopback', async () => {
    const responses = await sameTime(10, '127.0.0.1');
    expect(new Set(responses.map(({ status }) => status))).toEqual(new Set([200]));
  });

  it('do not concern who only reads', async () => {
    const init = { headers: from('203.0.113.4') };
    const reads = Array.from({ length: 10 }, () => fetch(`${gateway.url}/v1/limited/views`, init));
    expect(new Set((await Promise.all(reads)).map(({ status }) => status))).toEqual(new Set([200]));
  });

  it('refuse a stream too many, until another ends', async () => {
    const open = () => fetch(`${gateway.url}/v1/stream?posts=narrow`, { headers: from('203.0.113.5') });
    const first = await open();
    expect(first.status).toBe(200);
    const second = await open();
    expect(second.headers.get('retry-after')).toBe('10');
    expect(await answerOf(second)).toMatchObject({ status: 429, body: { code: 'RATE_LIMITED', retryAfterMs: 10_000 } });
    await first.body!.cancel();
    await until(async () => {
      const next = await open();
      await next.body!.cancel();
      return next.status === 200;
    }, 'room for another');
  });

  it('a stream that was refused for another reason is not counted', async () => {
    const init = { headers: from('203.0.113.6') };
    for (let i = 0; i < 3; i++) expect((await fetch(`${gateway.url}/v1/stream`, init)).status).toBe(400);
    const response = await fetch(`${gateway.url}/v1/stream?posts=a`, init);
    expect(response.status).toBe(200);
    await response.body!.cancel();
  });

  it('believe X-Forwarded-For of nobody who is not named', async () => {
    const direct = await startGateway({ MAX_OPS_PER_ADDRESS: '1' });
    const init = { ...UP, headers: from('203.0.113.1') };
    const responses = await Promise.all(Array.from({ length: 5 }, () => fetch(`${direct.url}/v1/a/views`, init)));
    expect(new Set(responses.map(({ status }) => status))).toEqual(new Set([200]));
  });
});

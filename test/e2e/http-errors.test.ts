import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { once } from 'node:events';
import { connect } from 'node:net';
import { type GatewayProcess, startGateway, stopAll } from '../support/gateway-process.js';

const POST_RULE = 'a string of 1 to 64 characters out of A-Z a-z 0-9 _ . : -, other than . and ..';
const ALLOWED = 'https://allowed.example';

let gateway: GatewayProcess;

beforeAll(async () => {
  gateway = await startGateway({ MAX_POSTS_PER_CONNECTION: '3', ALLOWED_ORIGINS: ALLOWED });
});

afterAll(stopAll);

interface Answer {
  readonly status: number;
  readonly body: unknown;
}

async function send(
  method: string,
  path: string,
  body?: string,
  headers: Record<string, string> = {},
): Promise<Answer> {
  const init = body === undefined ? { method, headers } : { method, headers, body };
  const response = await fetch(gateway.url + path, init);
  return { status: response.status, body: await response.json() };
}

function badRequest(message: string | RegExp, status = 400): Answer {
  const expected: unknown = typeof message === 'string' ? message : expect.stringMatching(message);
  return { status, body: { code: 'BAD_REQUEST', message: expected, retryable: false } };
}

const UP = '{"action":"increment"}';

describe('an invalid request', () => {
  it.each([
    ['/v1/no%20spaces/likes', `post must be ${POST_RULE}`],
    ['/v1/a%2Fb/likes', `post must be ${POST_RULE}`],
    [`/v1/${'x'.repeat(65)}/likes`, `post must be ${POST_RULE}`],
    ['/v1/%C3%A9/likes', `post must be ${POST_RULE}`],
    ['/v1/%zz/likes', `the path is not percent-encoded UTF-8; post must be ${POST_RULE}`],
    ['/v1/hat/shares', 'metric must be one of: counter, likes, views, live'],
    ['/v1/hat/constructor', 'metric must be one of: counter, likes, views, live'],
    ['/v1/counts', 'posts must name at least one post, once in the query: ?posts=a,b,c'],
    ['/v1/counts?posts=', 'posts must name at least one post, once in the query: ?posts=a,b,c'],
    ['/v1/counts?posts=a&posts=b', 'posts must name at least one post, once in the query: ?posts=a,b,c'],
    ['/v1/counts?posts=a,,b', `posts[1] must be ${POST_RULE}`],
    ['/v1/stream', 'posts must name at least one post, once in the query: ?posts=a,b,c'],
    ['/v1/stream?posts=a%20b', `posts[0] must be ${POST_RULE}`],
  ])('GET %s is rejected with the rule', async (path, message) => {
    expect(await send('GET', path)).toEqual(badRequest(message));
  });

  it.each([
    ['views', '{"action":"decrement"}', 'action must be "increment": views is a tally, which only grows'],
    ['live', UP, 'live cannot be changed: it counts current viewers'],
    ['likes', '{"action":"double"}', 'action must be "increment" or "decrement"'],
    ['likes', '{}', 'action must be "increment" or "decrement"'],
    ['likes', '', 'action must be "increment" or "decrement"'],
    ['likes', '{"action":"increment","by":2}', '"by" is not a field; expected one of: action, automated'],
    ['likes', '[]', 'the payload must be { "action": "increment" } or { "action": "decrement" }'],
    ['likes', '"increment"', /^the body must be JSON/],
    ['likes', '{"action":', /^the body must be JSON/],
  ])('PUT of %s with %s is rejected with the rule', async (metric, body, message) => {
    expect(await send('PUT', `/v1/hat/${metric}`, body, { 'Content-Type': 'application/json' })).toEqual(
      badRequest(message),
    );
    expect(await send('GET', '/v1/hat/likes')).toEqual({ status: 200, body: { count: 0, updated_at: null } });
  });

  it.each([
    ['Idempotency-Key', 'short', 'Idempotency-Key must have 8 to 64 characters'],
    ['Idempotency-Key', 'x'.repeat(65), 'Idempotency-Key must have 8 to 64 characters'],
    ['Actor-Id', '', 'Actor-Id must have 1 to 128 characters'],
    ['Actor-Id', 'x'.repeat(129), 'Actor-Id must have 1 to 128 characters'],
  ])('a PUT with the header %s: %s is rejected with the rule', async (name, value, message) => {
    expect(await send('PUT', '/v1/hat/likes', UP, { [name]: value })).toEqual(badRequest(message));
  });

  it.each([
    ['GET', '/v1/hat'],
    ['GET', '/v2/hat/likes'],
    ['POST', '/v1/hat/likes'],
    ['DELETE', '/v1/hat/likes'],
    ['PUT', '/v1/counts'],
  ])('%s %s gets 404 with the list of routes', async (method, path) => {
    const answer = await send(method, path);
    expect(answer).toEqual(badRequest(/GET .*, PUT \/v1\/\{post\}\/\{metric\}, GET \/v1\/counts/, 404));
  });

  it.each(['deltas', 'digests', 'posts'])(
    'POST /v1/replication/%s is FORBIDDEN on a gateway without peers',
    async (route) => {
      const body = { code: 'FORBIDDEN', message: 'this gateway has no PEERS', retryable: false };
      expect(await send('POST', `/v1/replication/${route}`, '', { 'Tallycast-Region': 'us' })).toEqual({
        status: 403,
        body,
      });
    },
  );

  it.each(['counts', 'stream'])('more posts than the limit are rejected in %s', async (path) => {
    const body = { code: 'TOO_MANY_POSTS', message: 'posts may name at most 3 posts', retryable: false };
    expect(await send('GET', `/v1/${path}?posts=a,b,c,d`)).toEqual({ status: 400, body });
  });

  it('repeated posts count once towards the limit', async () => {
    expect(await send('GET', '/v1/counts?posts=a,a,a,b,c')).toMatchObject({ status: 200 });
  });
});

describe('a request that is too large', () => {
  it('a request with too large a body is rejected, whatever its content', async () => {
    const message = 'a body has at most 16384 bytes';
    const body = { code: 'PAYLOAD_TOO_LARGE', message, retryable: false };
    expect(await send('PUT', '/v1/hat/likes', 'x'.repeat(16_385))).toEqual({ status: 413, body });
    expect(await send('PUT', '/v1/hat/likes', UP.padEnd(16_384))).toMatchObject({ status: 200, body: { count: 1 } });
  });

  it('a request with too long an address is rejected', async () => {
    const { status, body } = await send('GET', `/v1/counts?posts=${'x'.repeat(17_000)}`);
    expect({ status, body }).toMatchObject({ status: 413, body: { code: 'PAYLOAD_TOO_LARGE' } });
  });

  it('bytes that are not HTTP get a BAD_REQUEST', async () => {
    const socket = connect(gateway.port, '127.0.0.1').setEncoding('utf8');
    let text = '';
    socket.on('data', (fragment: string) => (text += fragment)).end('good day\r\n\r\n');
    await once(socket, 'close');
    expect(text).toMatch(/^HTTP\/1\.1 400 [^]*\r\n\r\n\{"code":"BAD_REQUEST"/);
  });
});

describe('an origin', () => {
  const evil = { Origin: 'https://evil.example' };

  it.each([
    ['GET', '/v1/door/likes'],
    ['GET', '/v1/counts?posts=door'],
    ['GET', '/v1/stream?posts=door'],
    ['OPTIONS', '/v1/door/likes'],
  ])('a request of an origin that is not allowed is rejected: %s %s', async (method, path) => {
    const message =
      'pages of https://evil.example may not use this gateway; if they are yours, add https://evil.example to its ALLOWED_ORIGINS';
    const body = { code: 'FORBIDDEN', message, retryable: false };
    expect(await send(method, path, undefined, evil)).toEqual({ status: 403, body });
  });

  it('a PUT of an origin that is not allowed changes nothing', async () => {
    expect((await send('PUT', '/v1/door/views', UP, evil)).status).toBe(403);
    expect(await send('GET', '/v1/door/views')).toMatchObject({ body: { count: 0 } });
  });

  it('an allowed origin may read responses, with errors, Retry-After and the version of a PUT', async () => {
    for (const path of ['/v1/door/likes', '/v1/door/nonsense']) {
      const { headers } = await fetch(gateway.url + path, { headers: { Origin: ALLOWED } });
      expect(headers.get('access-control-allow-origin')).toBe(ALLOWED);
      expect(headers.get('access-control-expose-headers')).toBe('Retry-After,Tallycast-Version');
    }
  });

  it('a preflight of an allowed origin allows PUT and POST, and their headers', async () => {
    const { status, headers } = await fetch(`${gateway.url}/v1/door/likes`, {
      method: 'OPTIONS',
      headers: {
        Origin: ALLOWED,
        'Access-Control-Request-Method': 'PUT',
        'Access-Control-Request-Headers': 'actor-id,content-type,idempotency-key',
      },
    });
    expect(status).toBe(204);
    expect(headers.get('access-control-allow-origin')).toBe(ALLOWED);
    expect(headers.get('access-control-allow-methods')).toBe('GET,PUT,POST');
    expect(headers.get('access-control-allow-headers')).toBe('Authorization,Actor-Id,Idempotency-Key,Content-Type');
  });

  it("the gateway's own origin needs no CORS headers", async () => {
    const { status, headers } = await fetch(`${gateway.url}/v1/door/likes`, { headers: { Origin: gateway.url } });
    expect(status).toBe(200);
    expect(headers.get('access-control-allow-origin')).toBeNull();
  });
});

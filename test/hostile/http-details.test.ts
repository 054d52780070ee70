import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { closeClients, connect } from '../support/clients.js';
import { type GatewayProcess, startGateway, stopAll } from '../support/gateway-process.js';
import { requestRaw } from '../support/raw-request.js';

const SCRIPT = '/client/tallycast.js';

let gateway: GatewayProcess;
let brief: GatewayProcess;

beforeAll(async () => {
  [gateway, brief] = await Promise.all([
    startGateway({ TRUST_PROXY: '127.0.0.1', MAX_OPS_PER_ADDRESS: '1' }),
    startGateway({ KEEP_ALIVE_MS: '3000' }),
  ]);
});

afterEach(closeClients);

afterAll(stopAll);

describe('addresses with ports', () => {
  it.each(['198.51.100.1:PORT', '[2001:db8::1]:PORT'])(
    'a client whose balancer sends its port, too, has one limit for all ports: %s',
    async (address) => {
      const put = { method: 'PUT', body: '{"action":"increment"}' };
      const answers = await Promise.all(
        Array.from({ length: 10 }, (_, i) =>
          requestRaw(
            `${gateway.url}/v1/a/views`,
            { 'X-Forwarded-For': address.replace('PORT', String(5_000 + i)) },
            put,
          ),
        ),
      );
      expect(answers.map(({ status }) => status)).toContain(429);
    },
  );
});

describe('the ids . and ..', () => {
  const rule = /post[^"]* must be a string of 1 to 64 characters[^"]*, other than \. and \.\./;

  it.each(['/v1/%2E/likes', '/v1/%2e%2e/likes', '/v1/counts?posts=a,..', '/v1/stream?posts=.'])(
    'the ids . and .. are rejected over HTTP: %s',
    async (path) => {
      expect(await requestRaw(gateway.url + path, {})).toMatchObject({
        status: 400,
        body: expect.stringMatching(rule),
      });
    },
  );

  it('the ids . and .. are rejected on a socket, while longer ids that begin with dots are valid', async () => {
    const socket = connect(gateway.url);
    for (const post of ['.', '..']) {
      for (const answer of [
        await socket.emitWithAck('like', { post }),
        await socket.emitWithAck('view', { post, seq: 1 }),
        await socket.emitWithAck('add', { post, metric: 'views' }),
        await socket.emitWithAck('subscribe', { posts: ['a', post] }),
      ]) {
        expect(answer).toMatchObject({ ok: false, error: { code: 'BAD_REQUEST' } });
      }
    }
    for (const post of ['...', '.a', '..b', 'a.', '.:', '-']) {
      expect(await socket.emitWithAck('view', { post })).toMatchObject({ ok: true, counts: { post, views: 1 } });
    }
  });
});

describe('a file', () => {
  it.each([
    [412, { 'If-Match': '"another"' }],
    [412, { 'If-Unmodified-Since': 'Thu, 01 Jan 1970 00:00:00 GMT' }],
    [416, { Range: 'bytes=99999999-' }],
    [412, { 'If-Match': '"another"', 'Accept-Encoding': 'gzip' }],
    [416, { Range: 'bytes=99999999-', 'Accept-Encoding': 'gzip' }],
  ])('a file is rejected with %i and the error object: %j', async (status, headers) => {
    for (const path of [SCRIPT, '/docs/swagger-ui.css', '/index.html']) {
      const answer = await requestRaw(gateway.url + path, headers);
      const { code, message } = JSON.parse(answer.body) as { code: string; message: string };
      expect({ path, status: answer.status, code }).toEqual({ path, status, code: 'BAD_REQUEST' });
      expect(message).toMatch(/If-Match|Range/);
      expect(answer.headers.etag).toBeUndefined();
      if (status === 416) expect(answer.headers['content-range']).toMatch(/^bytes \*\/\d+$/);
    }
  });
});

it('connections are kept alive for 65 s or the time of the setting', async () => {
  for (const [{ url }, seconds] of [
    [gateway, 65],
    [brief, 3],
  ] as const) {
    const { headers } = await requestRaw(`${url}/healthz`, { Connection: 'keep-alive' });
    expect(headers['keep-alive']).toBe(`timeout=${seconds}`);
  }
});

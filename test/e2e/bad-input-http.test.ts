import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { gzipSync } from 'node:zlib';
import { closeClients, connect, expectOk } from '../support/clients.js';
import { type GatewayProcess, startGateway, stopAll } from '../support/gateway-process.js';
import { readMetrics, countOperations } from '../support/metrics.js';
import { Polling } from '../support/polling.js';
import { RawSocket } from '../support/raw-socket.js';
import { until } from '../support/until.js';

const JSON_TYPE = { 'Content-Type': 'application/json' };
const UP = '{"action":"increment"}';
const ACTION = 'action must be "increment" or "decrement"';
const NOT_JSON = 'the body must be JSON in UTF-8';
const POST = 'post must be a string of 1 to 64 characters';
const BODY_BYTES_MAX = 16_384;

let gateway: GatewayProcess;

beforeAll(async () => {
  gateway = await startGateway({ MAX_OPS_PER_CONNECTION: '0' });
});

afterAll(async () => {
  await closeClients();
  await stopAll();
});

interface Answer {
  readonly status: number;
  readonly body: unknown;
}

async function put(
  path: string,
  body: string | Uint8Array,
  headers: Record<string, string> = JSON_TYPE,
): Promise<Answer> {
  const response = await fetch(gateway.url + path, { method: 'PUT', body, headers });
  return { status: response.status, body: await response.json() };
}

async function get(path: string): Promise<Answer> {
  const response = await fetch(gateway.url + path);
  return { status: response.status, body: await response.json() };
}

function rejection(status: number, message: string, code = 'BAD_REQUEST'): Answer {
  return { status, body: { code, message: expect.stringContaining(message) as unknown, retryable: false } };
}

function deep(levels: number): string {
  return '['.repeat(levels) + ']'.repeat(levels);
}

/** UTF-8 cut in the middle of a character, a byte longer than needed, and bytes that never occur in it. */
const BAD_UTF8 = [
  Buffer.concat([Buffer.from('{"action":"increment'), Buffer.from([0xe2, 0x82]), Buffer.from('"}')]),
  Buffer.concat([Buffer.from('{"action":"'), Buffer.from([0xc0, 0xaf]), Buffer.from('increment"}')]),
  Buffer.concat([Buffer.from([0xff, 0xfe]), Buffer.from(UP)]),
];

describe('an invalid body or header', () => {
  it.each<[string, string | Uint8Array, string]>([
    ['nothing', '', ACTION],
    ['an empty object', '{}', ACTION],
    ['null as action', '{"action":null}', ACTION],
    ['1 as action', '{"action":1}', ACTION],
    ['1e309 as action', '{"action":1e309}', ACTION],
    ['capitals in action', '{"action":"Increment"}', ACTION],
    ['a list as action', '{"action":["increment"]}', ACTION],
    ['an action given twice', '{"action":"increment","action":"double"}', ACTION],
    ['an action in __proto__', '{"__proto__":{"action":"increment"}}', ACTION],
    ['7,000 lists as action', `{"action":${deep(7_000)}}`, ACTION],
    [
      '__proto__ beside it',
      '{"action":"increment","__proto__":null}',
      '"__proto__" is not a field; expected one of: action, automated',
    ],
    ['constructor beside it', '{"action":"increment","constructor":1}', '"constructor" is not a field'],
    ['by beside it', '{"action":"increment","by":1000}', '"by" is not a field'],
    ['a list', `[${UP}]`, 'the payload must be { "action": "increment" }'],
    ['8,000 lists', deep(8_000), 'the payload must be { "action": "increment" }'],
    ['null', 'null', NOT_JSON],
    ['a number', '5', NOT_JSON],
    ['a text', '"increment"', NOT_JSON],
    ['NaN', 'NaN', NOT_JSON],
    ['half an object', '{"action":"incr', NOT_JSON],
    ['two objects', `${UP}${UP}`, NOT_JSON],
    ['a form', 'action=increment', NOT_JSON],
    ['a zero byte', '\u0000', NOT_JSON],
    ['8,000 opening braces', '{'.repeat(8_000), NOT_JSON],
  ])('a body with %s is rejected and changes nothing', async (_title, body, message) => {
    expect(await put('/v1/target/likes', body)).toEqual(rejection(400, message));
    expect(await get('/v1/target/likes')).toEqual({ status: 200, body: { count: 0, updated_at: null } });
  });

  it.each(BAD_UTF8)('a body that is not UTF-8 is rejected: %p', async (body) => {
    expect(await put('/v1/target/likes', body)).toMatchObject({ status: 400, body: { code: 'BAD_REQUEST' } });
  });

  it.each<[string, string | Uint8Array, Record<string, string>]>([
    ['one byte more', UP.padEnd(BODY_BYTES_MAX + 1), {}],
    ['a megabyte', 'x'.repeat(2 ** 20), {}],
    ['10 MB of spaces, compressed to 10 KB', gzipSync(Buffer.alloc(10 * 2 ** 20, ' ')), { 'Content-Encoding': 'gzip' }],
  ])('a body over 16 KiB is rejected: %s', async (_title, body, headers) => {
    const tooLarge = rejection(413, 'a body has at most 16384 bytes', 'PAYLOAD_TOO_LARGE');
    expect(await put('/v1/target/likes', body, { ...JSON_TYPE, ...headers })).toEqual(tooLarge);
  });

  it.each([
    ['a plain body declared as gzip', { 'Content-Encoding': 'gzip' }],
    ['an unknown compression', { 'Content-Encoding': 'rot13' }],
    ['an unknown character set', { 'Content-Type': 'application/json; charset=klingon' }],
  ])('a request with %s is rejected', async (_title, headers) => {
    expect(await put('/v1/target/likes', UP, headers)).toMatchObject({ status: 400, body: { code: 'BAD_REQUEST' } });
  });

  it.each([
    ['0 characters as Actor-Id', { 'Actor-Id': '' }, 'Actor-Id must have 1 to 128 characters'],
    ['129 characters as Actor-Id', { 'Actor-Id': 'x'.repeat(129) }, 'Actor-Id must have 1 to 128 characters'],
    [
      '7 characters as Idempotency-Key',
      { 'Idempotency-Key': '1234567' },
      'Idempotency-Key must have 8 to 64 characters',
    ],
    [
      '65 characters as Idempotency-Key',
      { 'Idempotency-Key': 'x'.repeat(65) },
      'Idempotency-Key must have 8 to 64 characters',
    ],
  ])('a request with %s is rejected with the rule', async (_title, headers, message) => {
    expect(await put('/v1/target/likes', UP, headers)).toEqual(rejection(400, message));
  });

  it.each([
    ['/v1/no%20spaces/likes', POST],
    [`/v1/${'x'.repeat(65)}/likes`, POST],
    ['/v1/a%00b/likes', POST],
    ['/v1/..%2f..%2fetc/likes', POST],
    ['/v1/%F0%9F%98%80/likes', POST],
    ['/v1/%ff/likes', POST],
    ['/v1/%/likes', POST],
    ['/v1/target/__proto__', 'metric must be one of: counter, likes, views'],
    ['/v1/target/constructor', 'metric must be one of: counter, likes, views'],
    ['/v1/target/Likes', 'metric must be one of: counter, likes, views'],
    ['/v1/target/%6cikes%20', 'metric must be one of: counter, likes, views'],
    ['/v1/target/live', 'live cannot be changed'],
  ])('PUT %s is rejected with the rule', async (path, message) => {
    expect(await put(path, UP)).toEqual(rejection(400, message));
  });

  it('the metrics count all rejected requests, and no operation', async () => {
    const metrics = await readMetrics(gateway.url);
    expect(countOperations(metrics, 'applied', 'unchanged', 'duplicate')).toBe(0);
    expect(metrics.get('tallycast_operations_total{kind="unknown",result="BAD_REQUEST"}')).toBeGreaterThan(10);
    expect(metrics.get('tallycast_watched_posts')).toBe(0);
  });
});

describe('unusual but valid requests', () => {
  it.each(['__proto__', 'constructor', 'a:b.c_d-1', 'x'.repeat(64), 'likes', '%61%3Ab', '-1'])(
    'the id %s is valid over HTTP',
    async (id) => {
      expect(await put(`/v1/${id}/likes`, UP)).toMatchObject({ status: 200, body: { count: 1 } });
      const post = decodeURIComponent(id);
      const { body } = await get(`/v1/counts?posts=${id},never-seen`);
      expect(body).toMatchObject({
        counts: [
          { post, likes: 1, views: 0 },
          { post: 'never-seen', likes: 0 },
        ],
      });
      const socket = connect(gateway.url);
      expect(expectOk(await socket.emitWithAck('subscribe', { posts: [post] })).counts).toMatchObject([
        { post, likes: 1 },
      ]);
    },
  );

  it('a body of exactly 16 KiB is accepted', async () => {
    expect(await put('/v1/wide/views', UP.padEnd(BODY_BYTES_MAX))).toMatchObject({ status: 200, body: { count: 1 } });
  });
});

describe('long-polling requests that Engine.IO does not know', () => {
  const path = '/socket.io/?EIO=4&transport=polling';

  it.each([
    ['no version', 'GET', '/socket.io/?transport=polling'],
    ['version 3', 'GET', '/socket.io/?EIO=3&transport=polling'],
    ['version __proto__', 'GET', '/socket.io/?EIO=__proto__&transport=polling'],
    ['no transport', 'GET', '/socket.io/?EIO=4'],
    ['an unknown transport', 'GET', '/socket.io/?EIO=4&transport=__proto__'],
    ['two transports', 'GET', `${path}&transport=websocket`],
    ['a websocket without an upgrade', 'GET', '/socket.io/?EIO=4&transport=websocket'],
    ['an unknown session', 'GET', `${path}&sid=nonsense`],
    ['the session __proto__', 'POST', `${path}&sid=__proto__`],
    ['two sessions', 'POST', `${path}&sid=a&sid=b`],
    ['a session of 10,000 characters', 'POST', `${path}&sid=${'x'.repeat(10_000)}`],
    ['no session', 'POST', path],
  ])('a long-polling request with %s is rejected', async (_title, method, address) => {
    const response = await fetch(gateway.url + address, { method, ...(method === 'POST' && { body: '40' }) });
    expect(response.status).toBe(400);
    expect(await response.json()).toHaveProperty('message');
  });

  it('a long-polling request over 256 KiB is rejected, and its session continues', async () => {
    const polling = await Polling.connect(gateway.url);
    expect(await polling.send('x'.repeat(256 * 1024 + 1))).toMatchObject({ status: 413 });
    expect(await polling.emitWithAck(['2#["like",{"post":"after-all"}]'])).toMatchObject([{ ok: true, applied: true }]);
  });

  it('a long-polling request with bytes in place of text ends its session', async () => {
    const polling = await Polling.connect(gateway.url);
    const posted = polling.post(Buffer.from([0, 1, 2]), { 'Content-Type': 'application/octet-stream' });
    expect(await posted).toMatchObject({ status: 400 });
    expect(await polling.hasEnded()).toBe(true);
  });

  it.each([
    [
      'bytes that are not UTF-8 as id',
      Buffer.concat([Buffer.from('421["like",{"post":"'), Buffer.of(0xff), Buffer.from('"}]')]),
    ],
    [
      'half a character as id',
      Buffer.concat([Buffer.from('421["like",{"post":"a'), Buffer.of(0xe2, 0x82), Buffer.from('"}]')]),
    ],
  ])('a long-polling request with %s gets an error', async (_title, body) => {
    const polling = await Polling.connect(gateway.url);
    await polling.post(body);
    const [answer] = await polling.packets(([packet]) => packet!.startsWith('431'));
    expect(JSON.parse(answer!.slice(3))).toMatchObject([{ ok: false, error: rejection(400, POST).body }]);
  });

  it.each([
    ['nothing', ''],
    ['only separators', '\x1e'.repeat(1_000)],
    ['a separator behind', '42["like",{"post":"x y"}]\x1e'],
    ['bad Base64', 'b!!!!'],
    ['a frame of another protocol', 'hello'],
  ])('a long-polling request with %s ends its session', async (_title, body) => {
    const polling = await Polling.connect(gateway.url);
    await polling.post(body).catch(() => undefined);
    await until(() => polling.hasEnded(), 'the end');
  });

  it('two polls at once end their session', async () => {
    const polling = await Polling.connect(gateway.url);
    await Promise.allSettled([fetch(polling.url), fetch(polling.url)]);
    await until(() => polling.hasEnded(), 'the end');
  });

  it.each(['PUT', 'DELETE', 'PATCH', 'OPTIONS', 'HEAD'])(
    'a request by %s does not end the session of long-polling',
    async (method) => {
      const polling = await Polling.connect(gateway.url);
      const response = await fetch(polling.url, { method });
      await response.text();
      expect(await polling.emitWithAck(['2#["unsubscribe",{"posts":["a"]}]'])).toEqual([{ ok: true }]);
    },
  );

  it.each([
    ['an unknown session', `/socket.io/?EIO=4&transport=websocket&sid=nonsense`],
    ['polling', `/socket.io/?EIO=4&transport=polling`],
    ['version 3', `/socket.io/?EIO=3&transport=websocket`],
    ['another path', `/elsewhere/?EIO=4&transport=websocket`],
  ])('an upgrade with %s is rejected', async (_title, address) => {
    const upgraded = RawSocket.open(gateway.url, address).then(async (raw) => {
      raw.send('40');
      await raw.closed;
      throw new Error('closed');
    });
    await expect(upgraded).rejects.toThrow();
  });

  it('rejected requests leave no socket behind', async () => {
    const raw = await RawSocket.connect(gateway.url);
    expect(await raw.emitWithAck('2#["like",{"post":"after-everything"}]')).toMatchObject({
      ok: true,
      counts: { likes: 1 },
    });
    raw.destroy();
  });
});

import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { randomUUID } from 'node:crypto';
import { closeClients, connect, expectOk, untilConnected } from '../support/clients.js';
import { allAccepted, postEvents, readCount, toAnswer } from '../support/events.js';
import { type GatewayProcess, startGateway, stopAll } from '../support/gateway-process.js';
import { requestRaw } from '../support/raw-request.js';
import { startRedis, stopRedis } from '../support/redis-server.js';

const METRICS = 'likes:toggle,views:tally,shares:tally,saves:toggle';
const LINES = { 'Content-Type': 'application/x-ndjson' };
const PAGE = 'https://page.example';

afterAll(async () => {
  await closeClients();
  await stopAll();
  await stopRedis();
});

async function put(url: string, path: string, headers: Record<string, string>, action = 'increment'): Promise<number> {
  const response = await fetch(url + path, { method: 'PUT', body: JSON.stringify({ action }), headers });
  return ((await response.json()) as { count: number }).count;
}

describe.each(['the embedded store', 'Redis'])('an event over %s', (store) => {
  let gateway: GatewayProcess;

  beforeAll(async () => {
    gateway = await startGateway({ METRICS, ...(store === 'Redis' && { REDIS_URL: (await startRedis()).url }) });
  });

  it('an event counts once together with the same operation of a socket, whichever comes first', async () => {
    const auth = { actor: 'Åda', session: randomUUID() };
    const socket = connect(gateway.url, auth);
    await untilConnected(socket);
    const view = (seq: number) => socket.emitWithAck('view', { post: 'both-ways', seq });
    expect(expectOk(await view(1))).toMatchObject({ applied: true, duplicate: false });
    const events = [1, 2].map((seq) => ({ post: 'both-ways', seq }));
    expect(await postEvents(gateway.url, { ...auth, events })).toEqual(allAccepted(2));
    expect(expectOk(await view(2))).toMatchObject({ applied: false, duplicate: true, counts: { views: 2 } });
    expect(expectOk(await view(3))).toMatchObject({ applied: true, counts: { views: 3 } });
  });

  it('a socket without an actor and an event without one have the same session', async () => {
    const session = randomUUID();
    const socket = connect(gateway.url, { session });
    expectOk(await socket.emitWithAck('add', { post: 'nobody', metric: 'shares', by: 3, seq: 1 }));
    const events = [{ post: 'nobody', metric: 'shares', by: 3, seq: 1 }];
    expect(await postEvents(gateway.url, { session, events })).toEqual(allAccepted(1));
    expect(await readCount(gateway.url, 'nobody', 'shares')).toBe(3);
  });

  it('an event with a key counts once together with a PUT, whichever comes first', async () => {
    const [first, second] = ['ключ-key-4711', 'second-key-4712'];
    const header = (key: string) => ({ 'Idempotency-Key': Buffer.from(key).toString('latin1'), 'Actor-Id': 'ada' });
    expect(await put(gateway.url, '/v1/keyed/views', header(first))).toBe(1);
    const events = [first, second, second].map((key) => ({ post: 'keyed', key }));
    expect(await postEvents(gateway.url, { actor: 'ada', events })).toEqual(allAccepted(3));
    expect(await put(gateway.url, '/v1/keyed/views', header(second))).toBe(2);
    // Another actor, metric or action makes another key of the same text.
    const others = [
      { post: 'keyed', key: second },
      { post: 'keyed', metric: 'saves', key: second },
      { post: 'keyed', metric: 'saves', on: false, key: second },
    ];
    expect(await postEvents(gateway.url, others)).toEqual(allAccepted(3));
    expect(await readCount(gateway.url, 'keyed', 'views')).toBe(3);
    expect(await readCount(gateway.url, 'keyed', 'saves')).toBe(0);
  });

  it('events of one post take effect in their order, and unchanged toggles are accepted', async () => {
    const events = [true, true, false, true, false, true].map((on) => ({ post: 'undecided', metric: 'saves', on }));
    expect(await postEvents(gateway.url, { actor: 'ada', events })).toEqual(allAccepted(6));
    expect(await readCount(gateway.url, 'undecided', 'saves')).toBe(1);
    // Without an actor it is a plain +1 and -1.
    const anonymous = [true, true, false].map((on) => ({ post: 'undecided', metric: 'saves', on }));
    expect(await postEvents(gateway.url, anonymous)).toEqual(allAccepted(3));
    expect(await readCount(gateway.url, 'undecided', 'saves')).toBe(2);
  });
});

describe('events', () => {
  let gateway: GatewayProcess;

  beforeAll(async () => {
    gateway = await startGateway({ METRICS, ALLOWED_ORIGINS: PAGE });
  });

  it.each([
    ['an object', { 'Content-Type': 'application/json' }, '{"events":[{"post":"P","by":20},{"post":"P"}]}'],
    ['a list', { 'Content-Type': 'application/json; charset=utf-8' }, '[{"post":"P","by":20},{"post":"P"}]'],
    ['lines', LINES, '{"post":"P","by":20}\n\n{"post":"P"}\n'],
    ['lines of Windows', LINES, '{"post":"P","by":20}\r\n{"post":"P"}\r\n'],
    ['one line', LINES, '{"post":"P","by":21}'],
    ['the text of a beacon', { 'Content-Type': 'text/plain;charset=UTF-8' }, '{"events":[{"post":"P","by":21}]}'],
    ['lines of curl', { 'Content-Type': 'application/x-www-form-urlencoded' }, '{"post":"P"}\n{"post":"P","by":20}'],
    ['an unknown type', { 'Content-Type': 'nonsense' }, '[{"post":"P","by":21}]'],
    ['a byte order mark', { 'Content-Type': 'application/json' }, '\ufeff[{"post":"P","by":21}]'],
  ])('%s counts 21 views', async (title, headers, body) => {
    const post = title.replaceAll(' ', '-');
    const { status } = await postEvents(gateway.url, body.replaceAll('"P"', `"${post}"`), headers);
    expect(status).toBe(202);
    expect(await readCount(gateway.url, post, 'views')).toBe(21);
  });

  it('the actor is notified of a toggle over the other connections', async () => {
    const socket = connect(gateway.url, { actor: 'grace' });
    expectOk(await socket.emitWithAck('subscribe', { posts: ['noticed'] }));
    const mine = new Promise((resolve) => socket.once('mine', resolve));
    await postEvents(gateway.url, { actor: 'grace', events: [{ post: 'noticed', metric: 'likes' }] });
    expect(await mine).toEqual({ post: 'noticed', metric: 'likes', on: true });
  });

  it('events that do not fit are rejected by their index, and the others are counted', async () => {
    const body = '{"post":"mixed"}\nnonsense\n{"post":"mixed","by":0}\n{"post":"mixed"}\n';
    const error = (message: string) => ({ code: 'BAD_REQUEST', message, retryable: false });
    expect(await postEvents(gateway.url, body, LINES)).toMatchObject({
      status: 202,
      body: {
        accepted: 2,
        rejected: [
          { index: 1, error: error('the line must be one event in JSON') },
          { index: 2, error: error('by must be a whole number from 1 to 1000') },
        ],
      },
    });
    expect(await readCount(gateway.url, 'mixed', 'views')).toBe(2);
  });

  it('a page of an allowed origin may send JSON after a preflight, and read the answer', async () => {
    const plan = { 'Access-Control-Request-Method': 'POST', 'Access-Control-Request-Headers': 'content-type' };
    const preflight = await fetch(`${gateway.url}/v1/events`, {
      method: 'OPTIONS',
      headers: { Origin: PAGE, ...plan },
    });
    expect(preflight.status).toBe(204);
    expect(preflight.headers.get('access-control-allow-origin')).toBe(PAGE);
    expect(preflight.headers.get('access-control-allow-methods')).toContain('POST');
    expect(preflight.headers.get('access-control-allow-headers')).toContain('Content-Type');
    const sent = await fetch(`${gateway.url}/v1/events`, {
      method: 'POST',
      headers: { Origin: PAGE, 'Content-Type': 'application/json' },
      body: '[{"post":"cors"}]',
    });
    expect(sent.status).toBe(202);
    expect(sent.headers.get('access-control-allow-origin')).toBe(PAGE);
  });

  it.each(['/v1/events', '/view?post=foreign', '/VIEW/?post=foreign'])(
    'a page of another origin is FORBIDDEN to send to %s',
    async (path) => {
      const body = '[{"post":"foreign"}]';
      const headers = { 'Content-Type': 'text/plain', Origin: 'https://evil.example' };
      const response = await fetch(gateway.url + path, { method: 'POST', body, headers });
      expect({ status: response.status, cache: response.headers.get('cache-control') }).toEqual({
        status: 403,
        cache: 'no-store',
      });
      expect(await readCount(gateway.url, 'foreign', 'views')).toBe(0);
    },
  );

  describe('POST /view', () => {
    it.each([
      ['post=one-view', 'views'],
      ['post=one-view&metric=shares', 'shares'],
    ])('?%s counts one, whatever the body', async (query, metric) => {
      const response = await fetch(`${gateway.url}/view?${query}`, { method: 'POST', body: 'nonsense' });
      expect(response.headers.get('cache-control')).toBe('no-store');
      expect(await toAnswer(response)).toEqual(allAccepted(1));
      expect(await readCount(gateway.url, 'one-view', metric)).toBe(1);
    });

    it('a view with an Idempotency-Key counts once, together with a PUT', async () => {
      const headers = { 'Idempotency-Key': 'key-of-a-view', 'Actor-Id': 'ada' };
      for (let i = 0; i < 2; i++) await fetch(`${gateway.url}/view?post=kept`, { method: 'POST', headers });
      expect(await put(gateway.url, '/v1/kept/views', headers)).toBe(1);
    });
  });

  describe('a picture', () => {
    const show = (path: string, init: RequestInit = {}) => fetch(gateway.url + path, init);

    it('a picture of 43 bytes counts one when it is shown, anew each time, on pages of other sites, too', async () => {
      for (const count of [1, 2]) {
        const response = await show('/v1/shown/shares.gif');
        const { headers } = response;
        expect([headers.get('content-type'), headers.get('cache-control')]).toEqual(['image/gif', 'no-store']);
        expect(headers.get('cross-origin-resource-policy')).toBe('cross-origin');
        const bytes = Buffer.from(await response.arrayBuffer());
        expect({ length: bytes.length, kind: bytes.toString('latin1', 0, 6) }).toEqual({ length: 43, kind: 'GIF89a' });
        expect(await readCount(gateway.url, 'shown', 'shares')).toBe(count);
      }
    });

    it.each<[string, RequestInit]>([
      ['HEAD', { method: 'HEAD' }],
      ['a prefetch', { headers: { 'Sec-Purpose': 'prefetch;prerender' } }],
      ['a prefetch of an older browser', { headers: { Purpose: 'prefetch' } }],
    ])('%s gets the picture and is not counted', async (_title, init) => {
      const response = await show('/v1/unseen/views.gif', init);
      expect([response.status, response.headers.get('content-length')]).toEqual([200, '43']);
      expect(await readCount(gateway.url, 'unseen', 'views')).toBe(0);
    });

    it.each([
      ['no Referer, as in a mail', {}, 200],
      ['no Referer of another site', { 'Sec-Fetch-Site': 'cross-site' }, 200],
      ['the Referer of an allowed page', { Referer: `${PAGE}/a?b`, 'Sec-Fetch-Site': 'cross-site' }, 200],
      ['the Referer of another page', { Referer: 'https://evil.example/' }, 403],
      ['the Referer of a page like an allowed one', { Referer: `${PAGE}.evil.example/` }, 403],
      ['a Referer that is no address', { Referer: 'about:blank' }, 403],
      ['an Origin that is not allowed', { Origin: 'https://evil.example' }, 403],
    ])('with %s the picture is answered by its origin', async (title, headers, status) => {
      const post = title.replaceAll(/[ ,]/g, '-');
      const { status: answered } = await requestRaw(`${gateway.url}/v1/${post}/views.gif`, headers);
      expect([answered, await readCount(gateway.url, post, 'views')]).toEqual([status, status === 200 ? 1 : 0]);
    });

    it('the rule for pictures is for pictures alone', async () => {
      const foreign = { 'Sec-Fetch-Site': 'cross-site' };
      expect((await requestRaw(`${gateway.url}/v1/x.gif/views`, foreign)).status).toBe(403);
      const init = { method: 'PUT', body: '{"action":"increment"}' };
      expect((await requestRaw(`${gateway.url}/v1/x/views.gif`, foreign, init)).status).toBe(403);
    });

    it('a post may be called x.gif', async () => {
      expect(await put(gateway.url, '/v1/x.gif/views', {})).toBe(1);
      expect((await show('/v1/x.gif/views.gif')).status).toBe(200);
      expect(await readCount(gateway.url, 'x.gif', 'views')).toBe(2);
    });
  });

  it('a store that is down makes events UNAVAILABLE, and a repetition with the same keys counts them once', async () => {
    const redis = await startRedis();
    const other = await startGateway({ METRICS, REDIS_URL: redis.url }, { timeScale: 0.5 });
    const events = ['first-key', 'second-key'].map((key) => ({ post: 'cut-off', key }));
    expect(await postEvents(other.url, events)).toEqual(allAccepted(2));
    await redis.kill('SIGSTOP');
    const more = [...events, { post: 'cut-off', key: 'third-key' }];
    expect(await postEvents(other.url, more)).toMatchObject({ status: 503, body: { code: 'UNAVAILABLE' } });
    await redis.kill('SIGCONT');
    let answer = await postEvents(other.url, more);
    while (answer.status === 503) answer = await postEvents(other.url, more);
    expect(answer).toEqual(allAccepted(3));
    expect(await readCount(other.url, 'cut-off', 'views')).toBe(3);
  });
});

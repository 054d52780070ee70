import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { io } from 'socket.io-client';
import { type GatewayProcess, startGateway, stopAll } from '../support/gateway-process.js';

const RFC_3339_UTC = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d+)?Z$/;

interface Reading {
  readonly count: number;
  readonly updated_at: string | null;
}

interface Counts {
  readonly counts: readonly Record<string, unknown>[];
}

type Action = 'increment' | 'decrement';

let gateway: GatewayProcess;

beforeAll(async () => {
  gateway = await startGateway({ METRICS: 'likes:toggle,views:tally,shares:tally,saves:toggle' });
});

afterAll(stopAll);

async function get<T = Reading>(path: string): Promise<T> {
  const response = await fetch(gateway.url + path);
  expect(response.status).toBe(200);
  return (await response.json()) as T;
}

/** @returns the count that the answer states. */
async function put(path: string, action: Action, headers: Record<string, string> = {}, to = gateway): Promise<number> {
  const response = await fetch(to.url + path, {
    method: 'PUT',
    headers: { 'Content-Type': 'application/json', ...headers },
    body: JSON.stringify({ action }),
  });
  const answer = (await response.json()) as Reading;
  expect({ status: response.status, answer }).toMatchObject({
    status: 200,
    answer: { count: expect.any(Number), updated_at: answer.updated_at },
  });
  return answer.count;
}

/** @returns the version of the counts that include it, as the header has it */
async function increment(path: string): Promise<string | null> {
  const headers = { 'Content-Type': 'application/json' };
  const response = await fetch(gateway.url + path, { method: 'PUT', headers, body: '{"action":"increment"}' });
  expect(response.status).toBe(200);
  return response.headers.get('Tallycast-Version');
}

describe('a counter', () => {
  it.each(['counter', 'likes', 'views', 'shares', 'saves', 'live'])('%s of an unknown post is 0', async (metric) => {
    expect(await get(`/v1/unknown/${metric}`)).toEqual({ count: 0, updated_at: null });
  });

  it('the metric likes is called likes, too', async () => {
    expect(await put('/v1/two-names/counter', 'increment')).toBe(1);
    expect(await put('/v1/two-names/likes', 'increment')).toBe(2);
    expect((await get('/v1/two-names/counter')).count).toBe(2);
    expect((await get('/v1/two-names/likes')).count).toBe(2);
  });

  it('the response to a PUT has the version of the counts that include it', async () => {
    const [first, second] = [await increment('/v1/versions/likes'), await increment('/v1/versions/views')];
    const stream = await fetch(`${gateway.url}/v1/stream?posts=versions`, { signal: AbortSignal.timeout(30_000) });
    const reader = stream.body!.pipeThrough(new TextDecoderStream()).getReader();
    let text = '';
    while (!/^data: .*$/m.test(text)) text += (await reader.read()).value!;
    await reader.cancel();
    const [{ e, v }] = JSON.parse(/^data: (.*)$/m.exec(text)![1]!) as [{ e: string; v: number }];
    expect([first, second]).toEqual([`${e} ${v - 1}`, `${e} ${v}`]);
  });

  it('a count has the time of the last change of its post, in UTC', async () => {
    const before = Date.now();
    await put('/v1/clock/views', 'increment');
    const { updated_at } = await get('/v1/clock/likes');
    expect(updated_at).toMatch(RFC_3339_UTC);
    expect(Date.parse(updated_at!)).toBeGreaterThanOrEqual(before);
    expect(Date.parse(updated_at!)).toBeLessThanOrEqual(Date.now());
  });

  it('a post has the same count by its percent-encoded id and by its plain one', async () => {
    await put('/v1/a%3Ab.c_d-e/likes', 'increment');
    expect((await get('/v1/a:b.c_d-e/likes')).count).toBe(1);
  });

  it.each(['__proto__', 'constructor', '-1', '9223372036854775807', 'x'.repeat(64)])(
    '%s is an ordinary id',
    async (post) => {
      expect(await put(`/v1/${post}/views`, 'increment')).toBe(1);
      expect(await get<Counts>(`/v1/counts?posts=${post}`)).toMatchObject({ counts: [{ post, views: 1 }] });
    },
  );

  it('a count is never cached', async () => {
    const response = await fetch(`${gateway.url}/v1/fresh/likes`);
    expect(response.headers.get('cache-control')).toBe('no-store');
    expect(response.headers.get('content-type')).toBe('application/json; charset=utf-8');
  });

  it('a PUT is counted without a content type, as curl -d sends it', async () => {
    const response = await fetch(`${gateway.url}/v1/plain/likes`, {
      method: 'PUT',
      headers: { 'Content-Type': 'application/x-www-form-urlencoded' },
      body: '{"action":"increment"}',
    });
    expect(await response.json()).toMatchObject({ count: 1 });
  });
});

describe('a toggle', () => {
  it('a like counts an actor once, and an unlike takes it back once', async () => {
    const ada = { 'Actor-Id': 'ada' };
    const grace = { 'Actor-Id': 'grace' };
    expect(await put('/v1/toggle/likes', 'increment', ada)).toBe(1);
    expect(await put('/v1/toggle/likes', 'increment', ada)).toBe(1);
    expect(await put('/v1/toggle/likes', 'increment', grace)).toBe(2);
    expect(await put('/v1/toggle/likes', 'decrement', ada)).toBe(1);
    expect(await put('/v1/toggle/likes', 'decrement', ada)).toBe(1);
  });

  it('an anonymous like moves the count by one, and never below 0', async () => {
    expect(await put('/v1/floor/saves', 'decrement')).toBe(0);
    expect(await put('/v1/floor/saves', 'increment')).toBe(1);
    expect(await put('/v1/floor/saves', 'increment')).toBe(2);
    expect(await put('/v1/floor/saves', 'decrement')).toBe(1);
    expect(await put('/v1/floor/saves', 'decrement')).toBe(0);
    expect(await put('/v1/floor/saves', 'decrement')).toBe(0);
  });

  it("an anonymous unlike takes no actor's like away", async () => {
    await put('/v1/kept/likes', 'increment', { 'Actor-Id': 'ada' });
    expect(await put('/v1/kept/likes', 'decrement')).toBe(1);
  });

  it('an actor has one like over HTTP and over a socket, and the socket is notified', async () => {
    const actor = 'Åda ☃';
    const socket = io(gateway.url, { auth: { actor } });
    try {
      await socket.emitWithAck('subscribe', { posts: ['bridge'] });
      const mine = new Promise((resolve) => socket.once('mine', resolve));
      const utf8 = Buffer.from(actor).toString('latin1');
      expect(await put('/v1/bridge/saves', 'increment', { 'Actor-Id': utf8 })).toBe(1);
      expect(await mine).toEqual({ post: 'bridge', metric: 'saves', on: true });
      const set: unknown = await socket.emitWithAck('set', { post: 'bridge', metric: 'saves', on: true });
      expect(set).toMatchObject({ ok: true, applied: false, on: true });
    } finally {
      socket.close();
    }
  });
});

describe('a tally', () => {
  it('a tally grows with every request, from any client', async () => {
    expect(await put('/v1/tally/views', 'increment')).toBe(1);
    expect(await put('/v1/tally/views', 'increment', { 'Actor-Id': 'ada' })).toBe(2);
    expect(await put('/v1/tally/views', 'increment', { 'Actor-Id': 'ada' })).toBe(3);
  });

  it('a tally counts concurrent requests', async () => {
    await Promise.all(Array.from({ length: 40 }, () => put('/v1/crowd/shares', 'increment')));
    expect((await get('/v1/crowd/shares')).count).toBe(40);
  });
});

describe('an Idempotency-Key', () => {
  const key = { 'Idempotency-Key': 'key-0001' };

  it('an Idempotency-Key makes a retry take effect once', async () => {
    expect(await put('/v1/retry/views', 'increment', key)).toBe(1);
    expect(await put('/v1/retry/views', 'increment', key)).toBe(1);
    expect(await put('/v1/retry/views', 'increment', { 'Idempotency-Key': 'key-0002' })).toBe(2);
  });

  it('an Idempotency-Key makes an anonymous like take effect once', async () => {
    expect(await put('/v1/retry-plain/likes', 'increment', key)).toBe(1);
    expect(await put('/v1/retry-plain/counter', 'increment', key)).toBe(1);
  });

  it('an Idempotency-Key counts apart for each post, metric, action and actor', async () => {
    expect(await put('/v1/key-a/views', 'increment', key)).toBe(1);
    expect(await put('/v1/key-b/views', 'increment', key)).toBe(1);
    expect(await put('/v1/key-a/shares', 'increment', key)).toBe(1);
    expect(await put('/v1/key-a/views', 'increment', { ...key, 'Actor-Id': 'ada' })).toBe(2);
    expect(await put('/v1/key-a/likes', 'increment', key)).toBe(1);
    expect(await put('/v1/key-a/likes', 'decrement', key)).toBe(0);
  });

  it('an Idempotency-Key is known after a crash of the gateway', async () => {
    const first = await startGateway();
    expect(await put('/v1/crash/views', 'increment', key, first)).toBe(1);
    await first.kill('SIGKILL');
    const second = await startGateway({ DATA_DIR: first.dataDir });
    expect(await put('/v1/crash/views', 'increment', key, second)).toBe(1);
  });
});

describe('counts', () => {
  it('counts are in the requested order, each post once, with every metric', async () => {
    await put('/v1/second/shares', 'increment');
    const { counts } = await get<Counts>('/v1/counts?posts=second,first,second');
    expect(counts).toEqual([
      {
        post: 'second',
        likes: 0,
        views: 0,
        shares: 1,
        saves: 0,
        live: 0,
        updated_at: expect.stringMatching(RFC_3339_UTC),
      },
      { post: 'first', likes: 0, views: 0, shares: 0, saves: 0, live: 0, updated_at: null },
    ]);
    expect(Object.keys(counts[0]!)).toEqual(['post', 'likes', 'views', 'shares', 'saves', 'live', 'updated_at']);
  });
});

describe('compression', () => {
  const many = `/v1/counts?posts=${Array.from({ length: 60 }, (_, i) => `crate-${i}`).join(',')}`;

  it.each(['gzip', 'br, gzip, deflate', '*'])(
    'a response to Accept-Encoding: %s is compressed by gzip',
    async (accepted) => {
      const response = await fetch(gateway.url + many, { headers: { 'Accept-Encoding': accepted } });
      expect(response.headers.get('content-encoding')).toBe('gzip');
      expect(((await response.json()) as Counts).counts).toHaveLength(60);
    },
  );

  it.each(['identity', 'gzip;q=0'])('a response to Accept-Encoding: %s is not compressed', async (accepted) => {
    const response = await fetch(gateway.url + many, { headers: { 'Accept-Encoding': accepted } });
    expect(response.headers.get('content-encoding')).toBeNull();
    expect(((await response.json()) as Counts).counts).toHaveLength(60);
  });
});

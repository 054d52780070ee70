import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { SignJWT } from 'jose';
import type { MineEvent } from '../../src/protocol/messages.js';
import { closeClients, connect, expectOk, untilConnected } from '../support/clients.js';
import { type GatewayProcess, startGateway, stopAll } from '../support/gateway-process.js';
import { startRedis, stopRedis } from '../support/redis-server.js';
import { StreamReader } from '../support/stream-reader.js';
import { until } from '../support/until.js';

const SECRET = 'a secret of at least thirty-two bytes';
const METRICS = 'likes:toggle,views:tally,yes:choice@vote,no:choice@vote,readers:unique';
const ADA = { 'Actor-Id': 'ada' };

type Headers = Readonly<Record<string, string>>;

function token(subject: string, expiresInS = 600): Promise<string> {
  const claims = new SignJWT({}).setProtectedHeader({ alg: 'HS256' }).setSubject(subject);
  return claims.setExpirationTime(Math.floor(Date.now() / 1000) + expiresInS).sign(new TextEncoder().encode(SECRET));
}

async function put({ url }: GatewayProcess, path: string, headers: Headers = ADA, action = 'increment'): Promise<void> {
  const response = await fetch(`${url}/v1/${path}`, { method: 'PUT', headers, body: JSON.stringify({ action }) });
  expect(response.status).toBe(200);
}

async function open({ url }: GatewayProcess, query: string, headers?: Headers): Promise<StreamReader> {
  return (await StreamReader.open(`${url}/v1/stream?${query}`, headers)).reader;
}

async function mineIn(reader: StreamReader): Promise<unknown[]> {
  return (await reader.frame()).map(({ mine }) => mine);
}

async function statusOf({ url }: GatewayProcess, query: string, headers: Headers = {}): Promise<unknown> {
  const response = await fetch(`${url}/v1/stream?${query}`, { headers });
  if (response.status !== 200) return [response.status, ((await response.json()) as { message: string }).message];
  await response.body!.cancel();
  return response.status;
}

afterAll(async () => {
  await closeClients();
  await stopAll();
  await stopRedis();
});

describe('the stream of an actor', () => {
  let gateway: GatewayProcess;

  beforeAll(async () => {
    gateway = await startGateway({ METRICS, TRUST_PROXY: '127.0.0.1' });
  });

  it.each([
    ['the header Actor-Id', '', ADA],
    ['the query', '&actor=ada', {}],
    ['both', '&actor=ada', ADA],
  ])('the snapshot has what is on for the actor of %s', async (name, query, headers) => {
    const post = name.replaceAll(' ', '-');
    for (const metric of ['likes', 'yes', 'readers']) await put(gateway, `${post}/${metric}`);
    const reader = await open(gateway, `posts=${post},other-post${query}`, headers);
    expect(await mineIn(reader)).toEqual([['likes', 'yes'], []]);
    reader.close();
  });

  it('a stream without an actor has no `mine`', async () => {
    await put(gateway, 'unnamed/likes');
    const reader = await open(gateway, 'posts=unnamed');
    expect(await mineIn(reader)).toEqual([undefined]);
    await put(gateway, 'unnamed/likes', ADA, 'decrement');
    await put(gateway, 'unnamed/views');
    // Each block up to the last change is a frame: `frame` would reject another one.
    await reader.until(({ likes, views }) => likes === 0 && views === 1);
    reader.close();
  });

  it("a stream gets its actor's changes as `mine`, over sockets and over HTTP", async () => {
    const reader = await open(gateway, 'posts=here&actor=ada');
    expect(await mineIn(reader)).toEqual([[]]);
    await put(gateway, 'elsewhere/likes');
    await put(gateway, 'here/likes', { 'Actor-Id': 'grace' });
    await put(gateway, 'here/yes');
    const socket = connect(gateway.url, { actor: 'ada' });
    expectOk(await socket.emitWithAck('set', { post: 'here', metric: 'no', on: true }));
    await put(gateway, 'here/likes');
    expect([await reader.mine(), await reader.mine(), await reader.mine(), await reader.mine()]).toEqual([
      { post: 'here', metric: 'yes', on: true },
      { post: 'here', metric: 'no', on: true },
      { post: 'here', metric: 'yes', on: false },
      { post: 'here', metric: 'likes', on: true },
    ]);
    reader.close();
  });

  it('an address that differs between the header and the query is a BAD_REQUEST, as is a wrong value', async () => {
    const post = 'posts=a';
    expect(await statusOf(gateway, `${post}&actor=grace`, ADA)).toEqual([400, expect.stringContaining('Actor-Id')]);
    for (const wrong of ['', 'x'.repeat(129), 'ada&actor=ada'])
      expect(await statusOf(gateway, `${post}&actor=${wrong}`)).toEqual([400, expect.stringMatching(/^actor must/)]);
    expect(await statusOf(gateway, `${post}&token=a&token=b`)).toEqual([400, 'token must be one token']);
    expect(await statusOf(gateway, `${post}&actor=${'x'.repeat(20_000)}`)).toEqual([413, expect.any(String)]);
  });

  it('with ANONYMOUS_ACTORS=address a stream without a name is that of its address', async () => {
    const anonymous = await startGateway({ ANONYMOUS_ACTORS: 'address', TRUST_PROXY: '127.0.0.1' });
    const [here, there] = [{ 'X-Forwarded-For': '203.0.113.7' }, { 'X-Forwarded-For': '203.0.113.8' }];
    await put(anonymous, 'a/likes', here);
    const readers = [await open(anonymous, 'posts=a', here), await open(anonymous, 'posts=a', there)];
    expect(await Promise.all(readers.map(mineIn))).toEqual([[['likes']], [[]]]);
    await put(anonymous, 'a/likes', here, 'decrement');
    expect(await readers[0]!.mine()).toEqual({ post: 'a', metric: 'likes', on: false });
    for (const reader of readers) reader.close();
  });
});

describe('the stream of an actor on another gateway', () => {
  it('a change on one gateway of a Redis reaches streams and sockets on another one', async () => {
    const { url: REDIS_URL } = await startRedis();
    const [near, far] = [await startGateway({ REDIS_URL, METRICS }), await startGateway({ REDIS_URL, METRICS })];
    const streams = [await open(near, 'posts=a&actor=ada'), await open(far, 'posts=a', ADA)];
    const stranger = await open(far, 'posts=a&actor=grace');
    for (const reader of [...streams, stranger]) expect(await mineIn(reader)).toEqual([[]]);
    const socket = connect(far.url, { actor: 'ada' });
    const received: unknown[] = [];
    socket.on('mine', (event) => received.push(event));
    await untilConnected(socket);
    await put(near, 'a/views', {});
    // The first like may be made before the gateways have subscribed to the channel of the actor.
    let on = false;
    await until(async () => {
      on = !on;
      await put(near, 'a/likes', ADA, on ? 'increment' : 'decrement');
      return received.length > 0;
    }, 'the other gateway gets `mine`');
    await put(near, 'a/yes');
    const last = { post: 'a', metric: 'yes', on: true };
    await until(() => (received.at(-1) as MineEvent).metric === 'yes', 'the socket gets the last change');
    expect(received.at(-1)).toEqual(last);
    for (const reader of streams) {
      let event = await reader.mine();
      while (event.metric !== 'yes') event = await reader.mine();
      expect(event).toEqual(received.at(-1));
    }
    await put(near, 'a/no', { 'Actor-Id': 'grace' });
    expect(await stranger.mine()).toEqual({ post: 'a', metric: 'no', on: true });
    for (const reader of [...streams, stranger]) reader.close();
  });
});

describe('the token of a stream', () => {
  let gateway: GatewayProcess;

  beforeAll(async () => {
    const settings = {
      JWT_SECRET: SECRET,
      JWT_CLOCK_TOLERANCE_S: '0',
      REQUIRE_TOKEN_TO_READ: 'true',
      LOG_LEVEL: 'trace',
    };
    gateway = await startGateway({ ...settings, TRUST_PROXY: '127.0.0.1', MAX_CONNECTIONS_PER_ADDRESS: '1' });
  });

  it('a token in the query names the actor, and the stream ends with it', async () => {
    const ada = { Authorization: `Bearer ${await token('ada')}` };
    await put(gateway, 'brief/likes', ada);
    const reader = await open(gateway, `posts=brief&actor=grace&token=${await token('ada', 2)}`);
    expect(await mineIn(reader)).toEqual([['likes']]);
    await put(gateway, 'brief/likes', ada, 'decrement');
    expect(await reader.mine()).toEqual({ post: 'brief', metric: 'likes', on: false });
    let block = await reader.block();
    while (block !== null && !block.includes('event: bye')) block = await reader.block();
    expect(block).toContain('"reason":"the token has expired"');
    expect(await reader.block()).toBeNull();
  });

  it('a bad token in the query is UNAUTHORIZED before the stream begins', async () => {
    for (const bad of ['', 'abc', await token('ada', -60)])
      expect(await statusOf(gateway, `posts=a&token=${bad}`)).toEqual([401, expect.any(String)]);
    const headers = { Authorization: `Bearer ${await token('grace')}` };
    expect(await statusOf(gateway, `posts=a&token=${await token('ada')}`, headers)).toEqual([
      400,
      'token and Authorization must be the same; send one of them',
    ]);
  });

  it('where tokens are verified an actor in the query names nobody', async () => {
    const readable = await startGateway({ JWT_SECRET: SECRET });
    await put(readable, 'a/likes', { Authorization: `Bearer ${await token('ada')}` });
    const reader = await open(readable, 'posts=a&actor=ada');
    expect(await mineIn(reader)).toEqual([undefined]);
    reader.close();
  });

  it('a token in the query of another path is not taken', async () => {
    const query = `token=${await token('ada')}`;
    for (const path of [`/v1/a/likes?${query}`, `/v1/counts?posts=a&${query}`, `/v1/a/likes.svg?${query}`])
      expect((await fetch(gateway.url + path)).status).toBe(401);
    const init = { method: 'PUT', body: '{"action":"increment"}' };
    expect((await fetch(`${gateway.url}/v1/a/likes?${query}`, init)).status).toBe(401);
    expect((await fetch(`${gateway.url}/v1/events?${query}`, { method: 'POST', body: '[{"post":"a"}]' })).status).toBe(
      401,
    );
  });

  it('nothing that the gateway writes contains a token of a query', async () => {
    const tokens = [await token('ada'), await token('ada', -60), `${await token('grace')}x`, 'a.malformed.token'];
    const address = { 'X-Forwarded-For': '203.0.113.9' };
    for (const text of tokens) {
      const paths = [
        '/v1/stream?posts=a',
        '/v1/stream?posts=%00',
        '/v1/a/likes?a=b',
        '/no/such/path?a=b',
        '/v1/%zz?a=b',
      ];
      for (const path of paths) {
        const response = await fetch(`${gateway.url}${path}&token=${text}`, { headers: { ...address, Referer: text } });
        if (response.status === 200) await response.body!.cancel();
        else expect(await response.text()).not.toContain(text);
      }
      // Two streams of an address, of which the second one is rejected and logged.
      const both = [1, 2].map(() => fetch(`${gateway.url}/v1/stream?posts=a&token=${text}`, { headers: address }));
      for (const response of await Promise.all(both)) await response.body?.cancel();
    }
    const metrics = await (await fetch(`${gateway.url}/metrics`)).text();
    const written = `${gateway.log.join('\n')}\n${metrics}`;
    expect(written).toContain('rejected a token');
    expect(written).toContain('203.0.113.9');
    for (const text of tokens) for (const secret of [text, text.split('.')[1]!]) expect(written).not.toContain(secret);
  });
});

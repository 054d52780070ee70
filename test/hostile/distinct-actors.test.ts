import { createHash } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { SignJWT } from 'jose';
import type { MineEvent } from '../../src/protocol/messages.js';
import { type Client, closeClients, connect, expectOk } from '../support/clients.js';
import { type GatewayProcess, startGateway, stopAll } from '../support/gateway-process.js';
import { startRedis, stopRedis } from '../support/redis-server.js';

const SECRET = 'a secret of at least thirty-two bytes';
/** The first 64 bits of SHA-256("alice"), as a decimal int64. */
const NUMBER_OF_ALICE = '3159282601090220207';
const HALF_A_PAIR = '\ud800';

afterAll(async () => {
  await closeClients();
  await Promise.all([stopAll(), stopRedis()]);
});

function signToken(subject: string): Promise<string> {
  return new SignJWT({ sub: subject }).setProtectedHeader({ alg: 'HS256' }).sign(new TextEncoder().encode(SECRET));
}

/** A stock client with a token of this actor. */
async function enter(gateway: GatewayProcess, actor: string, session?: string): Promise<Client> {
  const token = await signToken(actor);
  return connect(gateway.url, { token, ...(session !== undefined && { session }) });
}

function put(gateway: GatewayProcess, path: string, headers: Record<string, string>, action = 'increment') {
  const body = JSON.stringify({ action });
  return fetch(gateway.url + path, {
    method: 'PUT',
    headers: { 'Content-Type': 'application/json', ...headers },
    body,
  });
}

async function countAfter(response: Promise<Response>): Promise<unknown> {
  return ((await (await response).json()) as { count?: unknown }).count;
}

/** The first 64 bits of the SHA-256 of a text, as a decimal int64. */
function toDecimalKey(text: string): string {
  return String(createHash('sha256').update(text).digest().readBigInt64BE(0));
}

async function untilRejected(socket: Client): Promise<unknown> {
  const { data } = await new Promise<{ data?: unknown }>((resolve) => {
    socket.once('connect_error', (error) => resolve(error as { data?: unknown }));
    socket.once('connect', () => resolve({ data: 'connected' }));
  });
  socket.close();
  return data;
}

function badRequest(message: string): unknown {
  return { code: 'BAD_REQUEST', message: expect.stringContaining(message) as unknown, retryable: false };
}

describe('with tokens', () => {
  let gateway: GatewayProcess;

  beforeAll(async () => {
    gateway = await startGateway({ JWT_SECRET: SECRET });
  });

  it('the number equal to the hash of alice is another actor than alice', async () => {
    expect(toDecimalKey('alice')).toBe(NUMBER_OF_ALICE);
    const post = 'of-alice';
    const [alice, alicesPhone, mallory] = [
      await enter(gateway, 'alice'),
      await enter(gateway, 'alice'),
      await enter(gateway, NUMBER_OF_ALICE),
    ] as const;
    const received = new Map<Client, MineEvent[]>();
    for (const socket of [alice, alicesPhone, mallory]) {
      const events: MineEvent[] = [];
      received.set(socket, events);
      socket.on('mine', (event) => events.push(event));
      expectOk(await socket.emitWithAck('subscribe', { posts: [post] }));
    }
    expect(expectOk(await alice.emitWithAck('like', { post })).applied).toBe(true);
    expectOk(await mallory.emitWithAck('unsubscribe', { posts: [post] }));
    expect(expectOk(await mallory.emitWithAck('subscribe', { posts: [post] })).counts).toMatchObject([
      { likes: 1, mine: [] },
    ]);
    expect(expectOk(await mallory.emitWithAck('unlike', { post }))).toMatchObject({ applied: false, on: false });
    const headers = { Authorization: `Bearer ${await signToken(NUMBER_OF_ALICE)}` };
    expect(await countAfter(put(gateway, `/v1/${post}/likes`, headers, 'decrement'))).toBe(1);
    expect(expectOk(await mallory.emitWithAck('like', { post }))).toMatchObject({
      applied: true,
      counts: { likes: 2 },
    });
    // Events sent to a socket before this acknowledgement have arrived by now.
    for (const socket of received.keys()) expectOk(await socket.emitWithAck('unsubscribe', { posts: [post] }));
    expect([...received.values()]).toEqual([[], [{ post, metric: 'likes', on: true }], []]);
  });

  it("an actor with ann's session text cannot block ann's operations by a high seq", async () => {
    const session = 'the session of ann';
    const [post, seq] = ['silenced', Number.MAX_SAFE_INTEGER];
    for (const known of [session, toDecimalKey(session), toDecimalKey(JSON.stringify(['session', 'ann', session]))]) {
      const mallory = await enter(gateway, 'mallory', known);
      expect(expectOk(await mallory.emitWithAck('view', { post, seq })).applied).toBe(true);
    }
    const ann = await enter(gateway, 'ann', session);
    const answer = expectOk(await ann.emitWithAck('view', { post, seq: 1 }));
    expect(answer).toMatchObject({ applied: true, duplicate: false, counts: { views: 4 } });
  });

  it("a session with the same text does not use up ann's Idempotency-Key", async () => {
    const [post, key] = ['p', '12345678'];
    const request = [key, post, 'views', 'increment'];
    const texts = [
      JSON.stringify(['ann', ...request]),
      JSON.stringify(['request', 'ann', ...request]),
      toDecimalKey(JSON.stringify(['ann', ...request])),
      toDecimalKey(JSON.stringify(['request', 'ann', ...request])),
    ];
    for (const actor of ['mallory', 'ann']) {
      for (const text of texts) {
        const socket = await enter(gateway, actor, text);
        expect(expectOk(await socket.emitWithAck('view', { post, seq: 1 })).applied).toBe(true);
      }
    }
    const headers = { Authorization: `Bearer ${await signToken('ann')}`, 'Idempotency-Key': key };
    expect(await countAfter(put(gateway, `/v1/${post}/views`, headers))).toBe(9);
    expect(await countAfter(put(gateway, `/v1/${post}/views`, headers))).toBe(9);
  });

  it('the Idempotency-Key of one actor does not use up the same one of another', async () => {
    for (const [actor, count] of [
      ['mallory', 1],
      ['ann', 2],
      ['ann', 2],
    ] as const) {
      const headers = { Authorization: `Bearer ${await signToken(actor)}`, 'Idempotency-Key': 'the same key' };
      expect(await countAfter(put(gateway, '/v1/same-key/views', headers))).toBe(count);
    }
  });

  it('a token whose subject has half a surrogate pair is rejected, because such names would share a key', async () => {
    const rejection = { code: 'UNAUTHORIZED', message: expect.stringContaining('"sub" must be well-formed Unicode') };
    expect(await untilRejected(await enter(gateway, `ann${HALF_A_PAIR}`))).toMatchObject(rejection);
    const headers = { Authorization: `Bearer ${await signToken(`ann${HALF_A_PAIR}`)}` };
    const response = await put(gateway, '/v1/halves/likes', headers);
    expect({ status: response.status, body: await response.json() }).toMatchObject({ status: 401, body: rejection });
  });
});

describe('without tokens', () => {
  let gateway: GatewayProcess;

  beforeAll(async () => {
    gateway = await startGateway();
  });

  it.each([
    ['actor', { actor: `ann${HALF_A_PAIR}` }],
    ['actor', { actor: `\udc00\ud800` }],
    ['session', { session: `a session ${HALF_A_PAIR}` }],
  ])('a handshake with half a surrogate pair in its %s is rejected', async (field, auth) => {
    const data = await untilRejected(connect(gateway.url, auth));
    expect(data).toEqual(badRequest(`${field} must be well-formed Unicode`));
  });

  it('a whole surrogate pair is accepted', async () => {
    const socket = connect(gateway.url, { actor: 'ann 😀', session: 'session 😀' });
    expect(expectOk(await socket.emitWithAck('like', { post: 'smile', seq: 1 })).applied).toBe(true);
  });

  it('bytes in Actor-Id that are not UTF-8 are distinct names', async () => {
    const names = ['\xed\xa0\x80', '\xed\xb0\x80', '\xef\xbf\xbd'];
    for (const [i, name] of names.entries()) {
      expect(await countAfter(put(gateway, '/v1/bytes/likes', { 'Actor-Id': name }))).toBe(i + 1);
    }
  });

  it('a client without an actor keeps its session over a reconnection', async () => {
    const session = 'an anonymous session';
    for (const duplicate of [false, true]) {
      const socket = connect(gateway.url, { session });
      expect(expectOk(await socket.emitWithAck('view', { post: 'anonymous', seq: 1 }))).toMatchObject({ duplicate });
      socket.close();
    }
    const named = connect(gateway.url, { actor: 'null', session });
    expect(expectOk(await named.emitWithAck('view', { post: 'anonymous', seq: 1 }))).toMatchObject({
      duplicate: false,
    });
  });
});

describe('with ACTOR_KEYS=int64', () => {
  let open: GatewayProcess;
  let guarded: GatewayProcess;
  const RULE = 'must be a decimal int64';
  const NAMES = ['alice', '9223372036854775808', '-9223372036854775809', '007', '-0', '+1', '1.0', '1e3', ' 1'];
  const LEAST = '-9223372036854775808';

  beforeAll(async () => {
    [open, guarded] = await Promise.all([
      startGateway({ ACTOR_KEYS: 'int64' }),
      startGateway({ ACTOR_KEYS: 'int64', JWT_SECRET: SECRET }),
    ]);
  });

  it.each(NAMES)('with ACTOR_KEYS=int64, the actor "%s" is rejected in the handshake and over HTTP', async (actor) => {
    expect(await untilRejected(connect(open.url, { actor }))).toEqual(badRequest(`actor ${RULE}`));
    // HTTP strips blanks around a header's value.
    if (actor !== actor.trim()) return;
    const headers = { 'Actor-Id': actor };
    for (const response of [
      await put(open, '/v1/named/likes', headers),
      await fetch(`${open.url}/v1/stream?posts=named`, { headers }),
    ]) {
      expect(response.status).toBe(400);
      expect(await response.json()).toEqual(badRequest(`Actor-Id ${RULE}`));
    }
  });

  it.each(NAMES)('with ACTOR_KEYS=int64, a token of "%s" is rejected', async (actor) => {
    const rejection = { code: 'UNAUTHORIZED', message: expect.stringContaining(`the token's "sub" ${RULE}`) };
    expect(await untilRejected(await enter(guarded, actor))).toMatchObject(rejection);
    const response = await put(guarded, '/v1/named/likes', { Authorization: `Bearer ${await signToken(actor)}` });
    expect({ status: response.status, body: await response.json() }).toMatchObject({ status: 401, body: rejection });
  });

  it('with ACTOR_KEYS=int64, each number acts once, over a socket and over HTTP', async () => {
    for (const [i, actor] of ['0', '42', LEAST, NUMBER_OF_ALICE].entries()) {
      const socket = connect(open.url, { actor });
      expect(expectOk(await socket.emitWithAck('like', { post: 'numbers' }))).toMatchObject({
        applied: true,
        counts: { likes: i + 1 },
      });
      expect(await countAfter(put(open, '/v1/numbers/likes', { 'Actor-Id': actor }))).toBe(i + 1);
    }
    const socket = await enter(guarded, LEAST);
    expect(expectOk(await socket.emitWithAck('like', { post: 'numbers' })).applied).toBe(true);
  });

  it('with ACTOR_KEYS=int64, clients without an actor can act', async () => {
    const socket = connect(open.url);
    expect(expectOk(await socket.emitWithAck('like', { post: 'unnamed' })).applied).toBe(true);
    expect(await countAfter(put(open, '/v1/unnamed/likes', {}))).toBe(2);
  });

  it('with ACTOR_KEYS=int64, a name beside a token is ignored, because the token has the actor', async () => {
    const socket = connect(guarded.url, { token: await signToken('7'), actor: 'alice' });
    expect(expectOk(await socket.emitWithAck('like', { post: 'beside' })).applied).toBe(true);
  });
});

describe('another ACTOR_KEYS than that of the data', () => {
  it.each([
    ['hash', 'int64'],
    ['int64', 'hash'],
  ])('a gateway does not start on an embedded store made with ACTOR_KEYS=%s, set to %s', async (made, set) => {
    const first = await startGateway({ ACTOR_KEYS: made });
    await first.kill('SIGTERM');
    const line = `DATA_DIR ${first.dataDir}: it was made with ACTOR_KEYS=${made}, which cannot be changed; set ACTOR_KEYS=${made}`;
    await expect(startGateway({ ACTOR_KEYS: set, DATA_DIR: first.dataDir })).rejects.toThrow(`exit code 1\n${line}`);
    const again = await startGateway({ ACTOR_KEYS: made, DATA_DIR: first.dataDir });
    await again.kill('SIGTERM');
  });

  it.each([
    ['hash', 'int64'],
    ['int64', 'hash'],
  ])('a gateway does not start on Redis with data made with ACTOR_KEYS=%s, set to %s', async (made, set) => {
    // With persistence there is no warning, so this is the only line.
    const { url } = await startRedis({ args: ['--appendonly', 'yes'] });
    const first = await startGateway({ ACTOR_KEYS: made, REDIS_URL: url });
    const starting = startGateway({ ACTOR_KEYS: set, REDIS_URL: url });
    await expect(starting).rejects.toThrow(
      `exit code 1\nACTOR_KEYS must be ${made}: the data in Redis was made with that one`,
    );
    const second = await startGateway({ ACTOR_KEYS: made, REDIS_URL: url });
    await Promise.all([first.kill('SIGTERM'), second.kill('SIGTERM')]);
  });
});

import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { SignJWT } from 'jose';
import { closeClients, connect, expectOk } from '../support/clients.js';
import { type GatewayProcess, startGateway, stopAll } from '../support/gateway-process.js';
import { startRedis, stopRedis } from '../support/redis-server.js';

const SECRET = 'a secret of at least thirty-two bytes';
const METRICS = 'likes:toggle,views:tally,yes:choice@vote,no:choice@vote,readers:unique';
const ADA = { 'Actor-Id': 'ada' };

type Headers = Readonly<Record<string, string>>;

async function read(url: string, headers: Headers = {}): Promise<unknown> {
  const response = await fetch(url, { headers });
  expect(response.status).toBe(200);
  return response.json();
}

async function put(url: string, headers: Headers = {}, action = 'increment', more: object = {}): Promise<unknown> {
  const response = await fetch(url, { method: 'PUT', headers, body: JSON.stringify({ action, ...more }) });
  expect(response.status).toBe(200);
  return response.json();
}

function counted(count: number, more: object = {}): object {
  return { count, updated_at: expect.anything() as unknown, ...more };
}

function token(subject: string): Promise<string> {
  const claims = new SignJWT({}).setProtectedHeader({ alg: 'HS256' }).setSubject(subject);
  return claims.setExpirationTime('10 minutes').sign(new TextEncoder().encode(SECRET));
}

afterAll(async () => {
  await closeClients();
  await stopAll();
  await stopRedis();
});

describe.each(['the embedded store', 'Redis'])('the state of an actor over HTTP with %s', (store) => {
  let gateway: GatewayProcess;

  beforeAll(async () => {
    const redis = store === 'Redis' ? { REDIS_URL: (await startRedis()).url } : {};
    gateway = await startGateway({ METRICS, ...redis });
  });

  it('a PUT with an actor says whether it changed the count, and of a toggle whether it is on', async () => {
    const likes = `${gateway.url}/v1/put/likes`;
    expect(await put(likes, ADA)).toEqual(counted(1, { on: true, applied: true }));
    expect(await put(likes, ADA)).toEqual(counted(1, { on: true, applied: false }));
    expect(await put(likes, ADA, 'decrement')).toEqual(counted(0, { on: false, applied: true }));
    expect(await put(`${gateway.url}/v1/put/views`, ADA)).toEqual(counted(1, { applied: true }));
    expect(await put(`${gateway.url}/v1/put/yes`, ADA)).toEqual(counted(1, { on: true, applied: true }));
    const readers = `${gateway.url}/v1/put/readers`;
    expect(await put(readers, ADA)).toEqual(counted(1, { applied: true }));
    expect(await put(readers, ADA)).toEqual(counted(1, { applied: false }));
  });

  it('a retry of a PUT says that it changed nothing', async () => {
    const headers = { ...ADA, 'Idempotency-Key': 'the key of a view' };
    const views = `${gateway.url}/v1/retry/views`;
    expect(await put(views, headers)).toEqual(counted(1, { applied: true }));
    expect(await put(views, headers)).toEqual(counted(1, { applied: false }));
  });

  it('a PUT of a bot that is not counted says that it changed nothing', async () => {
    const views = `${gateway.url}/v1/bot/views`;
    const nothing = { count: 0, updated_at: null };
    expect(await put(views, ADA, 'increment', { automated: true })).toEqual({ ...nothing, applied: false });
    expect(await put(views, {}, 'increment', { automated: true })).toEqual(nothing);
  });

  it('a PUT without an actor says neither', async () => {
    expect(await put(`${gateway.url}/v1/nobody/likes`)).toEqual(counted(1));
    expect(await put(`${gateway.url}/v1/nobody/views`)).toEqual(counted(1));
  });

  it('reading a toggle or a choice with an actor says whether it is on', async () => {
    for (const metric of ['likes', 'no', 'readers', 'views']) await put(`${gateway.url}/v1/get/${metric}`, ADA);
    const get = (metric: string, headers?: Headers) => read(`${gateway.url}/v1/get/${metric}`, headers);
    expect(await get('likes', ADA)).toEqual(counted(1, { on: true }));
    expect(await get('counter', ADA)).toEqual(counted(1, { on: true }));
    expect(await get('no', ADA)).toEqual(counted(1, { on: true }));
    expect(await get('yes', ADA)).toEqual(counted(0, { on: false }));
    expect(await get('likes', { 'Actor-Id': 'grace' })).toEqual(counted(1, { on: false }));
    expect(await get('likes')).toEqual(counted(1));
    for (const metric of ['readers', 'views', 'live']) expect(await get(metric, ADA)).not.toHaveProperty('on');
    expect(await read(`${gateway.url}/v1/unknown/likes?consistency=all`, ADA)).toMatchObject({ count: 0, on: false });
  });

  it('reading several posts with an actor says which toggles are on, as a socket does', async () => {
    for (const path of ['both/likes', 'both/yes', 'one/likes']) await put(`${gateway.url}/v1/${path}`, ADA);
    const posts = ['both', 'one', 'none'];
    const mine = async (headers?: Headers): Promise<unknown[]> => {
      const { counts } = (await read(`${gateway.url}/v1/counts?posts=${posts.join()}`, headers)) as {
        counts: { mine: unknown }[];
      };
      return counts.map((one) => one.mine);
    };
    expect(await mine(ADA)).toEqual([['likes', 'yes'], ['likes'], []]);
    expect(await mine({ 'Actor-Id': 'grace' })).toEqual([[], [], []]);
    expect(await mine()).toEqual([undefined, undefined, undefined]);
    const socket = connect(gateway.url, { actor: 'ada' });
    const { counts } = expectOk(await socket.emitWithAck('subscribe', { posts }));
    expect(await mine(ADA)).toEqual(counts.map((one) => one.mine));
  });

  it('an actor that is too long is a BAD_REQUEST where it makes a difference', async () => {
    const headers = { 'Actor-Id': 'x'.repeat(129) };
    for (const path of ['a/likes', 'counts?posts=a'])
      expect((await fetch(`${gateway.url}/v1/${path}`, { headers })).status).toBe(400);
    for (const path of ['a/views', 'a/likes.svg'])
      expect((await fetch(`${gateway.url}/v1/${path}`, { headers })).status).toBe(200);
  });
});

describe('who the actor is', () => {
  it('where tokens are verified the token names the actor, and Actor-Id names nobody', async () => {
    const { url } = await startGateway({ JWT_SECRET: SECRET });
    const ada = { Authorization: `Bearer ${await token('ada')}` };
    expect(await put(`${url}/v1/a/likes`, ada)).toEqual(counted(1, { on: true, applied: true }));
    expect(await read(`${url}/v1/a/likes`, ada)).toEqual(counted(1, { on: true }));
    expect(await read(`${url}/v1/a/likes`, ADA)).toEqual(counted(1));
    expect(await read(`${url}/v1/counts?posts=a`, ada)).toMatchObject({ counts: [{ mine: ['likes'] }] });
    expect(await read(`${url}/v1/counts?posts=a`, ADA)).not.toHaveProperty('counts.0.mine');
    const bad = { Authorization: 'Bearer wrong' };
    for (const path of ['a/likes', 'counts?posts=a'])
      expect((await fetch(`${url}/v1/${path}`, { headers: bad })).status).toBe(401);
  });

  it('with ANONYMOUS_ACTORS=address a client without a name has the state of its address', async () => {
    const { url } = await startGateway({ ANONYMOUS_ACTORS: 'address', TRUST_PROXY: '127.0.0.1' });
    const [here, elsewhere] = [{ 'X-Forwarded-For': '203.0.113.7' }, { 'X-Forwarded-For': '203.0.113.8' }];
    expect(await put(`${url}/v1/a/likes`, here)).toEqual(counted(1, { on: true, applied: true }));
    expect(await read(`${url}/v1/a/likes`, here)).toEqual(counted(1, { on: true }));
    expect(await read(`${url}/v1/a/likes`, elsewhere)).toEqual(counted(1, { on: false }));
    expect(await read(`${url}/v1/counts?posts=a`, here)).toMatchObject({ counts: [{ mine: ['likes'] }] });
  });

  it('with ACTOR_KEYS=int64 a read with another name is a BAD_REQUEST that names Actor-Id', async () => {
    const { url } = await startGateway({ ACTOR_KEYS: 'int64' });
    const response = await fetch(`${url}/v1/a/likes`, { headers: ADA });
    expect([response.status, await response.json()]).toEqual([
      400,
      expect.objectContaining({ message: expect.stringContaining('Actor-Id') as unknown }),
    ]);
  });
});

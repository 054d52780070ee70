import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { type JWTPayload, SignJWT, UnsecuredJWT } from 'jose';
import { closeClients, connect, expectOk } from '../support/clients.js';
import { type GatewayProcess, startGateway, stopAll } from '../support/gateway-process.js';
import { readMetrics } from '../support/metrics.js';
import { Polling } from '../support/polling.js';
import { RawSocket } from '../support/raw-socket.js';
import { until } from '../support/until.js';

const SECRET = 'a-secret-of-at-least-32-characters';
const ACTOR = 'actor must be a string of 1 to 128 characters';
const SESSION = 'session must be a string of 8 to 64 characters';
const NO_FIELD = ' is not a field; expected one of: token, actor, session';

/** A gateway behind a balancer, because loopback has no limits: clients send other addresses in X-Forwarded-For. */
const BALANCED = { TRUST_PROXY: '127.0.0.1', MAX_CONNECTIONS_PER_ADDRESS: '2' };

let open: GatewayProcess;
let guarded: GatewayProcess;

beforeAll(async () => {
  [open, guarded] = await Promise.all([
    startGateway(BALANCED),
    startGateway({ JWT_SECRET: SECRET, JWT_ISSUER: 'us', JWT_AUDIENCE: 'counts' }),
  ]);
});

afterAll(async () => {
  await closeClients();
  await stopAll();
});

/** Sends a handshake with this text as `auth`. @returns `connected`, or the error object of a rejection */
async function handshake(origin: string, auth: string): Promise<unknown> {
  const raw = await RawSocket.open(origin);
  const answered = raw.nextMessage((text) => text.startsWith('40') || text.startsWith('44'));
  raw.send(`40${auth}`);
  const answer = await answered;
  raw.destroy();
  const { data } = JSON.parse(answer.slice(2)) as { data?: unknown };
  return answer.startsWith('40') ? 'connected' : data;
}

function rejection(code: string, message: string): unknown {
  return { code, message: expect.stringContaining(message) as unknown, retryable: false };
}

describe('an invalid handshake', () => {
  it.each([
    ['0 characters as actor', '{"actor":""}', ACTOR],
    ['129 characters as actor', `{"actor":"${'x'.repeat(129)}"}`, ACTOR],
    ['a number as actor', '{"actor":7}', ACTOR],
    ['1e309 as actor', '{"actor":1e309}', ACTOR],
    ['null as actor', '{"actor":null}', ACTOR],
    ['a list as actor', '{"actor":["ada"]}', ACTOR],
    ['8,000 lists as actor', `{"actor":${'['.repeat(8_000)}${']'.repeat(8_000)}}`, ACTOR],
    ['7 characters as session', '{"session":"1234567"}', SESSION],
    ['65 characters as session', `{"session":"${'x'.repeat(65)}"}`, SESSION],
    ['a number as session', '{"session":12345678}', SESSION],
    ['an object as session', '{"session":{"length":8}}', SESSION],
    ['null as session', '{"session":null}', SESSION],
    ['a number as token', '{"token":1}', 'token must be a string'],
    ['null as token', '{"token":null}', 'token must be a string'],
    ['an unknown field', '{"user":"ada"}', `"user"${NO_FIELD}`],
    ['__proto__ as a field', '{"__proto__":{"actor":"ada"}}', `"__proto__"${NO_FIELD}`],
    ['constructor as a field', '{"actor":"ada","constructor":1}', `"constructor"${NO_FIELD}`],
    ['the ids of a connection state recovery', '{"pid":"x","offset":"y"}', `"pid"${NO_FIELD}`],
  ])('a handshake with %s is rejected with the name of the field', async (_title, auth, message) => {
    expect(await handshake(open.url, auth)).toEqual(rejection('BAD_REQUEST', message));
  });

  it.each(['token', 'actor', 'nonsense'])('a handshake with 20,000 characters as %s is rejected', async (name) => {
    const message = 'a message has at most 16384 bytes';
    const auth = JSON.stringify({ [name]: 'x'.repeat(20_000) });
    expect(await handshake(open.url, auth)).toEqual(rejection('PAYLOAD_TOO_LARGE', message));
  });

  it('a stock client gets the rejection by connect_error', async () => {
    const socket = connect(open.url, { actor: '' });
    const error = await new Promise((resolve) => socket.once('connect_error', resolve));
    expect(error).toMatchObject({ data: { code: 'BAD_REQUEST', message: ACTOR, retryable: false } });
  });

  it.each([
    ['a list', '[]'],
    ['a text', '"ada"'],
    ['null', 'null'],
    ['false', 'false'],
    ['half an object', '{"actor":"a'],
    ['20,000 characters of text', `"${'x'.repeat(20_000)}"`],
  ])('a handshake with %s in place of the object ends the connection', async (_title, auth) => {
    const raw = await RawSocket.open(open.url);
    raw.send(`40${auth}`);
    await raw.closed;
  });

  it('a handshake for another namespace is rejected', async () => {
    const raw = await RawSocket.open(open.url);
    for (const namespace of ['/admin', '/__proto__', '/socket.io', '//']) {
      const rejected = raw.nextMessage((text) => text.startsWith(`44${namespace},`));
      raw.send(`40${namespace},{"actor":"ada"}`);
      expect(await rejected).toContain('Invalid namespace');
    }
    raw.destroy();
  });

  it('an event before the handshake ends the connection', async () => {
    const raw = await RawSocket.open(open.url);
    raw.send('420["like",{"post":"target"}]');
    await raw.closed;
  });
});

describe('an unusual but valid handshake', () => {
  it.each([
    ['nothing', ''],
    ['an empty object', '{}'],
    ['one character as actor', '{"actor":"a"}'],
    ['128 characters as actor', `{"actor":"${'x'.repeat(128)}"}`],
    ['__proto__ as actor', '{"actor":"__proto__"}'],
    ['white space as actor', '{"actor":"\\u0000 \\n"}'],
    ['8 characters as session', '{"session":"12345678"}'],
    ['64 emoji halves as session', `{"session":"${'😀'.repeat(32)}"}`],
    ['a token, where none are verified', '{"token":"nonsense"}'],
  ])('a handshake with %s is accepted', async (_title, auth) => {
    expect(await handshake(open.url, auth)).toBe('connected');
  });
});

describe('the socket of a connection', () => {
  it('a connection has one socket, however many handshakes come in one request', async () => {
    const polling = await Polling.open(open.url);
    await polling.send(...Array<string>(8).fill('40{"actor":"many"}'));
    const packets = await polling.packets(({ length }) => length >= 8);
    expect(packets.filter((packet) => packet.startsWith('40'))).toHaveLength(1);
    expect(packets.filter((packet) => packet.startsWith('44'))).toHaveLength(7);
    expect((await readMetrics(open.url)).get('tallycast_sockets')).toBe(1);
  });

  it('a connection that sends thousands of handshakes is ended', async () => {
    const polling = await Polling.open(open.url);
    await polling.send(...Array<string>(50_000).fill('40')).catch(() => undefined);
    await until(() => polling.hasEnded(), 'the end');
  });

  it('a connection may retry a rejected handshake', async () => {
    const raw = await RawSocket.open(open.url);
    const rejected = raw.nextMessage((text) => text.startsWith('44'));
    raw.send('40{"actor":""}');
    await rejected;
    const connected = raw.nextMessage((text) => text.startsWith('40'));
    raw.send('40{"actor":"ada"}');
    await connected;
    expect(await raw.emitWithAck('2#["like",{"post":"again"}]')).toMatchObject({ ok: true, applied: true });
    raw.destroy();
  });
});

describe('connections of an address', () => {
  const from = (address: string) => ({ extraHeaders: { 'X-Forwarded-For': address }, reconnection: false });
  const admitted = (address: string) => {
    const socket = connect(open.url, {}, from(address));
    return new Promise<true | Error>((resolve) => {
      socket.once('connect', () => resolve(true)).once('connect_error', resolve);
    });
  };
  const begin = async (address: string): Promise<number> => {
    const path = '/socket.io/?EIO=4&transport=polling';
    const response = await fetch(open.url + path, { headers: { 'X-Forwarded-For': address } });
    await response.text();
    return response.status;
  };
  const tooMany = { data: { code: 'RATE_LIMITED', retryable: true, retryAfterMs: 10_000 } };

  it('connections of an address are limited, each address separately', async () => {
    expect(await admitted('10.0.0.1')).toBe(true);
    expect(await admitted('10.0.0.1')).toBe(true);
    expect(await admitted('10.0.0.1')).toMatchObject(tooMany);
    expect(await admitted('10.0.0.2')).toBe(true);
  });

  it('a connection counts for its address until it ends, and no longer', async () => {
    const [first, second] = [connect(open.url, {}, from('10.0.0.3')), connect(open.url, {}, from('10.0.0.3'))];
    expectOk(await first.emitWithAck('subscribe', { posts: ['crowd'] }));
    expectOk(await second.emitWithAck('subscribe', { posts: ['crowd'] }));
    first.close();
    await until(async () => (await admitted('10.0.0.3')) === true, 'room for another');
    expect(await admitted('10.0.0.3')).toMatchObject(tooMany);
  });

  it('connections that never complete their handshake are limited, too', async () => {
    const statuses: number[] = [];
    for (let i = 0; i < 101; i++) {
      statuses.push(...(await Promise.all(Array.from({ length: 10 }, () => begin('10.0.0.4')))));
    }
    expect(statuses.filter((status) => status === 200)).toHaveLength(1_000);
    expect(statuses.at(-1)).toBe(403);
    expect(await begin('10.0.0.5')).toBe(200);
    expect(await admitted('10.0.0.4')).toMatchObject({ message: 'websocket error' });
  });
});

describe('tokens', () => {
  const key = new TextEncoder().encode(SECRET);
  const good = () =>
    new SignJWT().setIssuer('us').setAudience('counts').setSubject('ada').setProtectedHeader({ alg: 'HS256' });
  const sign = (token: SignJWT, secret = key) => token.sign(secret);

  it.each([
    ['no characters', () => ''],
    ['plain text', () => 'nonsense'],
    ['two dots', () => '..'],
    ['three fields of nonsense', () => 'a.b.c'],
    ['a zero byte', () => 'a.\u0000.c'],
    ['15,000 dots', () => '.'.repeat(15_000)],
    ['no signature', () => new UnsecuredJWT().setSubject('ada').setIssuer('us').setAudience('counts').encode()],
    ['the signature of another key', () => sign(good(), new TextEncoder().encode(SECRET.toUpperCase()))],
    ['a signature cut short', async () => (await sign(good())).slice(0, -2)],
    ['an expiry in the past', () => sign(good().setExpirationTime(1))],
    ['a start in the future', () => sign(good().setNotBefore(4e9))],
    ['another issuer', () => sign(good().setIssuer('them'))],
    ['another audience', () => sign(good().setAudience('likes'))],
    [
      'no subject',
      () => sign(new SignJWT().setIssuer('us').setAudience('counts').setProtectedHeader({ alg: 'HS256' })),
    ],
    ['a subject of 129 characters', () => sign(good().setSubject('x'.repeat(129)))],
    ['an empty subject', () => sign(good().setSubject(''))],
    [
      'an expiry that is text',
      () =>
        sign(
          new SignJWT(JSON.parse('{"exp":"never"}') as JWTPayload)
            .setSubject('ada')
            .setProtectedHeader({ alg: 'HS256' }),
        ),
    ],
  ])('a token with %s is rejected', async (_title, token) => {
    expect(await handshake(guarded.url, JSON.stringify({ token: await token() }))).toEqual(
      rejection('UNAUTHORIZED', 'token'),
    );
  });

  it('a valid token is accepted, even if it never expires or does in a million years', async () => {
    for (const token of [good(), good().setExpirationTime(3e13)]) {
      expect(await handshake(guarded.url, JSON.stringify({ token: await sign(token) }))).toBe('connected');
    }
  });

  it('a client without a token may only watch', async () => {
    const socket = connect(guarded.url, { actor: 'ada' });
    expect(await socket.emitWithAck('like', { post: 'target' })).toMatchObject({
      error: rejection('UNAUTHORIZED', 'token'),
    });
    const { counts } = expectOk(await socket.emitWithAck('subscribe', { posts: ['target'] }));
    expect(counts).toMatchObject([{ post: 'target', v: 0, likes: 0, mine: [] }]);
  });
});

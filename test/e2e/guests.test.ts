import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { SignJWT } from 'jose';
import type { ErrorBody } from '../../src/protocol/errors.js';
import type { Failure, OperationResponse } from '../../src/protocol/messages.js';
import { type Client, closeClients, connect, expectOk } from '../support/clients.js';
import { postEvents, readCount } from '../support/events.js';
import { type GatewayProcess, startGateway, stopAll } from '../support/gateway-process.js';

const SECRET = 'a-secret-of-at-least-thirty-two-bytes';
const METRICS = 'likes:toggle,views:tally,shares:tally,readers:unique';
const TOKENS = { JWT_SECRET: SECRET, METRICS, GUEST_METRICS: 'views,readers' };
const SESSION = '0123456789abcdef';

let gateway: GatewayProcess;
let token: string;

beforeAll(async () => {
  const signed = new SignJWT({}).setProtectedHeader({ alg: 'HS256' }).setSubject('ada').setExpirationTime('1h');
  token = await signed.sign(new TextEncoder().encode(SECRET));
  gateway = await startGateway(TOKENS);
});

afterAll(async () => {
  await closeClients();
  await stopAll();
});

interface Request {
  readonly url: string;
  readonly post: string;
  readonly metric: string;
  /** Those of a user have a token. */
  readonly headers: Record<string, string>;
  readonly socket: Client;
}

/** @returns the message of the error, or `null` */
type Transport = (request: Request) => Promise<string | null>;

const TRANSPORTS: Readonly<Record<string, Transport>> = {
  socket: async ({ post, metric, socket }) => {
    const payload = { post, metric };
    const answer: OperationResponse | Failure =
      metric === 'likes'
        ? await socket.emitWithAck('set', { ...payload, on: true })
        : await socket.emitWithAck('add', payload);
    return answer.ok ? null : expectUnauthorized(answer.error);
  },
  PUT: ({ url, post, metric, headers }) =>
    send(`${url}/v1/${post}/${metric}`, { method: 'PUT', headers, body: '{"action":"increment"}' }),
  'POST /v1/events': ({ url, post, metric, headers }) =>
    send(`${url}/v1/events`, { method: 'POST', headers, body: JSON.stringify([{ post, metric }]) }),
  'POST /view': ({ url, post, metric, headers }) =>
    send(`${url}/view?post=${post}&metric=${metric}`, { method: 'POST', headers }),
  picture: ({ url, post, metric, headers }) => send(`${url}/v1/${post}/${metric}.gif`, { headers }),
};

async function send(
  url: string,
  { headers, ...init }: Omit<RequestInit, 'headers'> & Pick<Request, 'headers'>,
): Promise<string | null> {
  const response = await fetch(url, { ...init, headers: { 'Content-Type': 'application/json', ...headers } });
  if (response.ok) return null;
  expect(response.status).toBe(401);
  return expectUnauthorized((await response.json()) as ErrorBody);
}

function expectUnauthorized({ code, message, retryable }: ErrorBody): string {
  expect([code, retryable]).toEqual(['UNAUTHORIZED', false]);
  return message;
}

describe.each(Object.entries(TRANSPORTS))('over %s', (name, transport) => {
  const post = name.replace(/\W/g, '_');
  // A picture and POST /view are for metrics that are added to.
  const metrics = name === 'picture' || name === 'POST /view' ? ['views', 'shares'] : ['views', 'shares', 'likes'];

  it('a guest may add to the metrics of GUEST_METRICS alone, and a user may change all', async () => {
    const [guest, user] = [connect(gateway.url, { actor: 'bob' }), connect(gateway.url, { token })];
    const request = { url: gateway.url, post, headers: {}, socket: guest };
    for (const metric of metrics) {
      const refusal =
        metric === 'views' ? null : expect.stringMatching(`${metric}; without one you may only add to: views, readers`);
      expect([metric, await transport({ ...request, metric })]).toEqual([metric, refusal]);
    }
    const headers = { Authorization: `Bearer ${token}` };
    for (const metric of metrics) {
      expect([metric, await transport({ ...request, headers, socket: user, metric })]).toEqual([metric, null]);
    }
    const counts = await Promise.all(metrics.map((metric) => readCount(gateway.url, post, metric)));
    expect(counts).toEqual(metrics.map((metric) => (metric === 'views' ? 2 : 1)));
  });
});

it('a guest that takes the name of a user has neither its toggles nor its session, and counts apart', async () => {
  const user = connect(gateway.url, { token, session: SESSION });
  expectOk(await user.emitWithAck('like', { post: 'name', seq: 1 }));
  expectOk(await user.emitWithAck('view', { post: 'name', seq: 2 }));
  const guest = connect(gateway.url, { actor: 'ada', session: SESSION });
  expect(expectOk(await guest.emitWithAck('subscribe', { posts: ['name'] })).counts[0]).toMatchObject({ mine: [] });
  const again = await connect(gateway.url, { token }).emitWithAck('subscribe', { posts: ['name'] });
  expect(expectOk(again).counts[0]).toMatchObject({ mine: ['likes'] });
  for (const duplicate of [false, true]) {
    expect(await guest.emitWithAck('view', { post: 'name', seq: 1 })).toMatchObject({ ok: true, duplicate });
  }
  // The actor and session of a beacon are those of the socket.
  const beacon = { actor: 'ada', session: SESSION, events: [{ post: 'name', seq: 1 }] };
  expect((await postEvents(gateway.url, beacon)).status).toBe(202);
  expect(await readCount(gateway.url, 'name', 'views')).toBe(2);
  const readers: unknown[] = [];
  for (const reader of [user, guest, user, guest]) {
    const { counts } = expectOk(await reader.emitWithAck('add', { post: 'name', metric: 'readers' }));
    readers.push(counts['readers']);
  }
  expect(readers).toEqual([1, 2, 2, 2]);
});

it('of a request with several events a guest gets those rejected that it may not make', async () => {
  const events = [{ post: 'mixed' }, { post: 'mixed', metric: 'likes' }, { post: 'mixed' }];
  expect(await postEvents(gateway.url, { events })).toMatchObject({
    status: 202,
    body: { accepted: 2, rejected: [{ index: 1, error: { code: 'UNAUTHORIZED' } }] },
  });
});

it('where reading requires a token a guest adds by requests that show no counts, and by no others', async () => {
  const { url } = await startGateway({ ...TOKENS, REQUIRE_TOKEN_TO_READ: 'true' });
  const socket = connect(url);
  const refused = await new Promise<Error & { data?: ErrorBody }>((resolve) => socket.once('connect_error', resolve));
  expect(refused.data).toMatchObject({ code: 'UNAUTHORIZED' });
  const request = { url, post: 'hidden', metric: 'views', headers: {}, socket };
  expect(await TRANSPORTS['PUT']!(request)).toBe('a token is required; send one');
  for (const name of ['POST /v1/events', 'POST /view', 'picture']) {
    expect([name, await TRANSPORTS[name]!(request)]).toEqual([name, null]);
  }
  const counts = await fetch(`${url}/v1/hidden/views`, { headers: { Authorization: `Bearer ${token}` } });
  expect(await counts.json()).toMatchObject({ count: 3 });
});

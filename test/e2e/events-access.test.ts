import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { createHmac, randomUUID } from 'node:crypto';
import { SignJWT } from 'jose';
import { allAccepted, postEvents, readCount } from '../support/events.js';
import { type GatewayProcess, startGateway, stopAll } from '../support/gateway-process.js';
import { readMetrics } from '../support/metrics.js';

const SECRET = 'a-secret-of-at-least-thirty-two-bytes';
const JSON_TYPE = { 'Content-Type': 'application/json' };
const MARKS_BURST = 4_096;
const REQUESTS = 9;
/** By this factor time passes slower in a gateway, so that no token comes back during a test. */
const TIME_SCALE = 1_000;

afterAll(stopAll);

describe('events where tokens are verified', () => {
  let gateway: GatewayProcess;
  let token: string;

  beforeAll(async () => {
    gateway = await startGateway({ JWT_SECRET: SECRET });
    token = await new SignJWT({})
      .setProtectedHeader({ alg: 'HS256' })
      .setSubject('ada')
      .setExpirationTime('1h')
      .sign(new TextEncoder().encode(SECRET));
  });

  it('a token may stand in the body of a beacon or in a header, and its subject is the actor', async () => {
    const events = [{ post: 'safe', metric: 'likes' }];
    const body = { token, actor: 'grace', events };
    expect(await postEvents(gateway.url, body, { 'Content-Type': 'text/plain' })).toEqual(allAccepted(1));
    const headers = { ...JSON_TYPE, Authorization: `Bearer ${token}` };
    expect(await postEvents(gateway.url, { events }, headers)).toEqual(allAccepted(1));
    expect(await readCount(gateway.url, 'safe', 'likes')).toBe(1);
  });

  it('events, views and pictures without a valid token are UNAUTHORIZED', async () => {
    const unauthorized = { status: 401, body: { code: 'UNAUTHORIZED', retryable: false } };
    expect(await postEvents(gateway.url, { actor: 'ada', events: [{ post: 'no' }] })).toMatchObject(unauthorized);
    expect(await postEvents(gateway.url, { token: `${token}x`, events: [{ post: 'no' }] })).toMatchObject(unauthorized);
    expect((await fetch(`${gateway.url}/view?post=no`, { method: 'POST' })).status).toBe(401);
    expect((await fetch(`${gateway.url}/v1/no/views.gif`)).status).toBe(401);
    expect(await readCount(gateway.url, 'no', 'views')).toBe(0);
    const metrics = await readMetrics(gateway.url);
    expect(metrics.get('tallycast_operations_total{kind="unknown",result="UNAUTHORIZED"}')).toBe(4);
  });
});

describe('limits of events', () => {
  let gateway: GatewayProcess;

  beforeAll(async () => {
    const limits = { MAX_OPS_PER_ADDRESS: '100', MAX_NEW_POSTS_PER_ADDRESS: '2', POST_SECRET: SECRET, FLUSH_MS: '0' };
    gateway = await startGateway({ TRUST_PROXY: '127.0.0.1', ...limits }, { timeScale: TIME_SCALE });
  });

  function sign(name: string): string {
    const signature = createHmac('sha256', SECRET).update(name).digest().subarray(0, 16).toString('base64url');
    return `${name}.${signature}`;
  }

  function from(address: string): Record<string, string> {
    return { ...JSON_TYPE, 'X-Forwarded-For': address };
  }

  it('a request takes a token for each event and each 20 of by, all of them or none', async () => {
    const post = sign('rated');
    const views = (events: number, by = 1) => Array.from({ length: events }, () => ({ post, by }));
    const headers = from('203.0.113.1');
    expect(await postEvents(gateway.url, [...views(40), ...views(1, 1_000)], headers)).toEqual(allAccepted(41));
    const rejected = await postEvents(gateway.url, views(11), headers);
    expect(rejected).toMatchObject({ status: 429, retryAfter: '1', body: { code: 'RATE_LIMITED', retryable: true } });
    expect(await postEvents(gateway.url, views(10), headers)).toEqual(allAccepted(10));
    expect((await postEvents(gateway.url, views(1), headers)).status).toBe(429);
    expect((await fetch(`${gateway.url}/view?post=${post}`, { method: 'POST', headers })).status).toBe(429);
    expect((await fetch(`${gateway.url}/v1/${post}/views.gif`, { headers })).status).toBe(429);
    expect(await readCount(gateway.url, post, 'views')).toBe(1_050);
    const metrics = await readMetrics(gateway.url);
    expect(metrics.get('tallycast_operations_total{kind="add",result="RATE_LIMITED"}')).toBe(14);
  });

  it('a request that costs more than the burst takes the whole burst', async () => {
    const events = Array.from({ length: 500 }, () => ({ post: sign('large'), by: 1_000 }));
    expect(await postEvents(gateway.url, events, from('203.0.113.2'))).toEqual(allAccepted(500));
    expect((await postEvents(gateway.url, [{ post: sign('large') }], from('203.0.113.2'))).status).toBe(429);
  });

  it('unsigned posts are FORBIDDEN one by one', async () => {
    const events = [{ post: sign('signed') }, { post: 'unsigned' }];
    expect(await postEvents(gateway.url, events, from('203.0.113.3'))).toMatchObject({
      status: 202,
      body: { accepted: 1, rejected: [{ index: 1, error: { code: 'FORBIDDEN', retryable: false } }] },
    });
    expect(await postEvents(gateway.url, [events[1]], from('203.0.113.3'))).toMatchObject({ status: 403 });
  });

  it('events behind a rejected one of their session are rejected, too, and none of them is lost', async () => {
    const session = randomUUID();
    const [known, second, third] = ['one', 'two', 'three'].map(sign);
    const created = await postEvents(gateway.url, [{ post: known }, { post: second }], from('203.0.113.4'));
    expect(created).toEqual(allAccepted(2));
    const events = [known, third, known].map((post, i) => ({ post, seq: i + 1 }));
    // The last event has no place in the session.
    const body = { session, events: [...events, { post: known }] };
    const limited = { code: 'RATE_LIMITED', message: expect.stringContaining('too many new posts'), retryable: true };
    expect(await postEvents(gateway.url, body, from('203.0.113.4'))).toMatchObject({
      status: 202,
      body: {
        accepted: 2,
        rejected: [
          { index: 1, error: limited },
          { index: 2, error: limited },
        ],
      },
    });
    expect(await postEvents(gateway.url, { session, events }, from('203.0.113.5'))).toEqual(allAccepted(3));
    expect(await readCount(gateway.url, third!, 'views')).toBe(1);
    expect(await readCount(gateway.url, known!, 'views')).toBe(4);
  });
});

it('each key leaves a mark of its own and is limited so, and a session leaves one for many events', async () => {
  const env = { TRUST_PROXY: '127.0.0.1', MAX_OPS_PER_ADDRESS: '100000', FLUSH_MS: '0' };
  const gateway = await startGateway(env, { timeScale: TIME_SCALE });
  const headers = { ...JSON_TYPE, 'X-Forwarded-For': '203.0.113.1' };
  const session = randomUUID();
  const lists = Array.from({ length: REQUESTS }, (_, list) =>
    Array.from({ length: 500 }, (_event, i) => 500 * list + i + 1),
  );
  for (const numbers of lists) {
    const events = numbers.map((seq) => ({ post: 'marked', seq }));
    expect(await postEvents(gateway.url, { session, events }, headers)).toEqual(allAccepted(500));
  }
  let accepted = 0;
  for (const numbers of lists) {
    const events = numbers.map((number) => ({ post: 'marked', key: `key-number-${number}` }));
    const { body } = await postEvents(gateway.url, events, headers);
    if ('accepted' in body) accepted += body.accepted;
    else expect(body).toMatchObject({ code: 'RATE_LIMITED', message: expect.stringContaining('sessions or keys') });
  }
  // Each request of the session has taken one of the marks that an address may begin at once.
  expect(accepted).toBe(MARKS_BURST - REQUESTS);
  expect(await readCount(gateway.url, 'marked', 'views')).toBe(500 * REQUESTS + accepted);
});

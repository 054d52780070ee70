import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { createHash, randomUUID } from 'node:crypto';
import { SignJWT } from 'jose';
import type { MilestoneEvent, OperationResponse } from '../../src/protocol/messages.js';
import { type Client, closeClients, connect, expectOk } from '../support/clients.js';
import { type GatewayProcess, startGateway, stopAll } from '../support/gateway-process.js';
import { readMetrics } from '../support/metrics.js';
import { ADMIN_TOKEN, armNew, readMilestones, readWinners } from '../support/milestones.js';
import { StreamReader } from '../support/stream-reader.js';
import { until } from '../support/until.js';

const RFC_3339 = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/;

let gateway: GatewayProcess;

beforeAll(async () => {
  gateway = await startGateway({ ADMIN_TOKEN });
});

afterAll(async () => {
  await closeClients();
  await stopAll();
});

/** As docs/milestones.md tells sites to compute it. */
function hashedKey(name: string): string {
  return String(createHash('sha256').update(name).digest().readBigInt64BE(0));
}

async function view(socket: Client, post: string, seq?: number): Promise<OperationResponse> {
  return expectOk(await socket.emitWithAck('view', { post, ...(seq !== undefined && { seq }) }));
}

async function put(path: string, headers: Record<string, string>, url = gateway.url): Promise<Record<string, unknown>> {
  const response = await fetch(url + path, { method: 'PUT', headers, body: '{"action":"increment"}' });
  expect(response.status).toBe(200);
  return (await response.json()) as Record<string, unknown>;
}

/** The events `milestone` that the socket has got so far. */
async function collect(socket: Client, post: string): Promise<MilestoneEvent[]> {
  const events: MilestoneEvent[] = [];
  socket.on('milestone', (event) => void events.push(event));
  expectOk(await socket.emitWithAck('subscribe', { posts: [post] }));
  return events;
}

describe('the acknowledgement of a winner', () => {
  it('the operation that reaches the number is acknowledged as such, and no other', async () => {
    await armNew(gateway.url, 'third', 'views', 3);
    const socket = connect(gateway.url);
    const acks: OperationResponse[] = [];
    for (let i = 0; i < 5; i++) acks.push(await view(socket, 'third'));
    expect(acks.map(({ reached }) => reached)).toEqual([undefined, undefined, true, undefined, undefined]);
    expect(Object.keys(acks[2]!)).toEqual(['ok', 'applied', 'duplicate', 'reached', 'counts']);
  });

  it('a retry on another connection gets the same acknowledgement, and the retry of another operation does not', async () => {
    await armNew(gateway.url, 'retried', 'views', 2);
    const auth = { actor: 'ada', session: randomUUID() };
    const [first, again] = [connect(gateway.url, auth), connect(gateway.url, auth)];
    expect(await view(first, 'retried', 1)).not.toHaveProperty('reached');
    expect(await view(first, 'retried', 2)).toMatchObject({ applied: true, duplicate: false, reached: true });
    expect(await view(again, 'retried', 1)).not.toHaveProperty('reached');
    expect(await view(again, 'retried', 2)).toMatchObject({ applied: false, duplicate: true, reached: true });
    expect(await view(again, 'retried', 3)).not.toHaveProperty('reached');
  });

  it('a toggle that reaches the number twice is acknowledged as the winner once', async () => {
    await armNew(gateway.url, 'flipped', 'likes', 1);
    const socket = connect(gateway.url, { actor: 'ada', session: randomUUID() });
    const acks: OperationResponse[] = [];
    for (const event of ['like', 'unlike', 'like'] as const) {
      acks.push(expectOk(await socket.emitWithAck(event, { post: 'flipped' })));
    }
    expect(acks.map(({ on, reached }) => [on, reached])).toEqual([
      [true, true],
      [false, undefined],
      [true, undefined],
    ]);
  });

  it('a PUT that reaches the number says so, with and without an actor, and so does its retry', async () => {
    await armNew(gateway.url, 'put', 'views', 2, 3);
    const named = { 'Actor-Id': 'ada', 'Idempotency-Key': randomUUID() };
    expect(await put('/v1/put/views', {})).toEqual({ count: 1, updated_at: expect.any(String) });
    expect(await put('/v1/put/views', named)).toMatchObject({ count: 2, applied: true, reached: true });
    const unnamed = { 'Idempotency-Key': randomUUID() };
    expect(await put('/v1/put/views', unnamed)).toEqual({ count: 3, updated_at: expect.any(String), reached: true });
    expect(await put('/v1/put/views', unnamed)).toEqual({ count: 3, updated_at: expect.any(String), reached: true });
    expect(await put('/v1/put/views', named)).toMatchObject({ count: 3, applied: false, reached: true });
    expect(await put('/v1/put/views', {})).not.toHaveProperty('reached');
  });
});

describe('the event milestone', () => {
  it('sockets and streams that watch the post get it, with the version of the counts that include it', async () => {
    await armNew(gateway.url, 'seen', 'views', 2);
    const [viewer, other, sender] = [connect(gateway.url), connect(gateway.url), connect(gateway.url)];
    const events = await collect(viewer, 'seen');
    const unrelated = await collect(other, 'another');
    const { reader } = await StreamReader.open(`${gateway.url}/v1/stream?posts=seen`);
    await reader.frame();
    await view(sender, 'seen');
    const { counts } = await view(sender, 'seen');
    const event = { post: 'seen', metric: 'views', n: 2, v: counts.v, at: expect.stringMatching(RFC_3339) };
    expect(await reader.milestone()).toEqual(event);
    await until(() => events.length > 0, 'the event has come');
    expect(events).toEqual([event]);
    const { reached } = await readMilestones(gateway.url, 'seen', 'views');
    expect(reached).toEqual([{ n: 2, v: event.v, at: events[0]!.at, final: true }]);
    // A further event, so that earlier ones have come.
    await armNew(gateway.url, 'another', 'likes', 1);
    expectOk(await sender.emitWithAck('like', { post: 'another' }));
    await until(() => unrelated.length > 0, 'the event of the other post has come');
    expect(unrelated).toMatchObject([{ post: 'another', metric: 'likes', n: 1 }]);
    expect(events).toHaveLength(1);
    reader.close();
  });

  it('one addition over three milestones is three events, and three records with one winner', async () => {
    await armNew(gateway.url, 'jump', 'views', 300, 100, 200, 1_001);
    const viewer = connect(gateway.url);
    const events = await collect(viewer, 'jump');
    const sender = connect(gateway.url, { actor: 'ada' });
    const ack = expectOk(await sender.emitWithAck('add', { post: 'jump', metric: 'views', by: 1_000 }));
    expect(ack).toMatchObject({ applied: true, reached: true });
    await until(() => events.length === 3, 'the events have come');
    expect(events.map(({ n }) => n)).toEqual([100, 200, 300]);
    const { armed, reached } = await readWinners(gateway.url, 'jump', 'views');
    expect(armed).toEqual([1_001]);
    expect(reached.map(({ n, actor, total }) => [n, actor, total])).toEqual(
      [100, 200, 300].map((n) => [n, hashedKey('ada'), 1_000]),
    );
  });

  it('a viewer over long-polling gets it', async () => {
    await armNew(gateway.url, 'polled', 'views', 1);
    const viewer = connect(gateway.url, {}, { transports: ['polling'] });
    const events = await collect(viewer, 'polled');
    await put('/v1/polled/views', {});
    await until(() => events.length > 0, 'the event has come');
    expect(events).toMatchObject([{ post: 'polled', n: 1 }]);
  });

  it('the log and the metrics of the gateway report it', async () => {
    const name = 'tallycast_milestones_reached_total';
    const before = (await readMetrics(gateway.url)).get(name)!;
    await armNew(gateway.url, 'reported', 'views', 2);
    const auth = { session: randomUUID() };
    const socket = connect(gateway.url, auth);
    for (const seq of [1, 2, 2, 3]) await view(socket, 'reported', seq);
    expect((await readMetrics(gateway.url)).get(name)).toBe(before + 1);
    const linesOf = (): string[] => gateway.log.filter((line) => line.includes('post reported has reached'));
    await until(() => linesOf().length > 0, 'the line is there');
    expect(linesOf().map((line) => JSON.parse(line) as unknown)).toEqual([
      expect.objectContaining({
        level: 30,
        context: 'milestones',
        msg: 'views of post reported has reached a milestone; the count is 2 now',
      }),
    ]);
  });
});

describe('who reached a milestone', () => {
  it('of 20 clients that race to the number one wins, and it is the one of the record', async () => {
    await armNew(gateway.url, 'race', 'views', 100);
    const runners = Array.from({ length: 20 }, (_, i) => {
      const actor = `runner-${i}`;
      return { actor, socket: connect(gateway.url, { actor, session: randomUUID() }) };
    });
    const won: { actor: string; total: unknown }[] = [];
    await Promise.all(
      runners.map(async ({ actor, socket }) => {
        for (let seq = 1; seq <= 10; seq++) {
          const { reached, counts } = await view(socket, 'race', seq);
          if (reached === true) won.push({ actor, total: counts['views'] });
        }
      }),
    );
    expect(won).toHaveLength(1);
    const { reached } = await readWinners(gateway.url, 'race', 'views');
    expect(reached).toEqual([
      expect.objectContaining({ n: 100, total: 100, value: 1, kind: 'add', actor: hashedKey(won[0]!.actor) }),
    ]);
    for (const { actor } of runners) {
      const { reached: seen } = await readMilestones(gateway.url, 'race', 'views', { 'Actor-Id': actor });
      expect(seen.map(({ mine }) => mine)).toEqual([actor === won[0]!.actor ? true : undefined]);
    }
    expect((await readMilestones(gateway.url, 'race', 'views')).reached[0]).not.toHaveProperty('mine');
  });

  it('the record has the whole operation', async () => {
    await armNew(gateway.url, 'whole', 'views', 10);
    const socket = connect(gateway.url, { actor: 'ada', session: randomUUID() });
    const request = { post: 'whole', metric: 'views', by: 12, seq: 4 };
    const { counts } = expectOk(await socket.emitWithAck('add', request));
    const { armed, reached } = await readWinners(gateway.url, 'whole', 'views');
    const operation = { session: expect.stringMatching(/^-?\d+$/), seq: 4, kind: 'add', value: 12, total: 12 };
    const record = { n: 10, v: counts.v, at: expect.stringMatching(RFC_3339), final: true, region: 'local', epoch: 1 };
    expect(armed).toEqual([]);
    expect(reached).toEqual([{ ...record, actor: hashedKey('ada'), ...operation }]);
  });

  it('the winner without a name and a session is null', async () => {
    await armNew(gateway.url, 'nobody', 'likes', 1);
    await put('/v1/nobody/likes', {});
    const { reached } = await readWinners(gateway.url, 'nobody', 'likes');
    expect(reached).toMatchObject([{ n: 1, actor: null, session: null, seq: 0, kind: 'adjust', value: 1 }]);
  });

  it('with int64 actors the winner is the number itself, negative ones and those beyond 2^53 too', async () => {
    const { url } = await startGateway({ ADMIN_TOKEN, ACTOR_KEYS: 'int64' });
    for (const actor of ['42', '-7', '9007199254740993', '-9223372036854775808']) {
      const post = `of${actor}`;
      await armNew(url, post, 'likes', 1);
      await put(`/v1/${post}/likes`, { 'Actor-Id': actor }, url);
      expect((await readWinners(url, post, 'likes')).reached).toMatchObject([{ n: 1, actor, kind: 'set', value: 1 }]);
    }
  });

  it('the milestones of counter are those of likes', async () => {
    await armNew(gateway.url, 'alias', 'likes', 5);
    expect(await readMilestones(gateway.url, 'alias', 'counter')).toEqual({ armed: [5], reached: [] });
  });
});

describe('milestones of a gateway with tokens', () => {
  const SECRET = 'a-secret-of-at-least-thirty-two-bytes';
  const TOKENS = { ADMIN_TOKEN, JWT_SECRET: SECRET, GUEST_METRICS: 'views' };

  function sign(subject: string): Promise<string> {
    const signed = new SignJWT({}).setProtectedHeader({ alg: 'HS256' }).setSubject(subject).setExpirationTime('1h');
    return signed.sign(new TextEncoder().encode(SECRET));
  }

  it('a guest wins as itself, and not as the actor of the same name', async () => {
    const { url } = await startGateway(TOKENS);
    const token = { Authorization: `Bearer ${await sign('ada')}` };
    await armNew(url, 'guests', 'views', 1, 2);
    const guest = connect(url, { actor: 'ada' });
    expect(await view(guest, 'guests')).toMatchObject({ reached: true });
    const member = connect(url, { token: await sign('ada') });
    expect(await view(member, 'guests')).toMatchObject({ reached: true });
    const mine = async (headers: Record<string, string>): Promise<number[]> =>
      (await readMilestones(url, 'guests', 'views', headers)).reached.filter((one) => one.mine).map(({ n }) => n);
    expect(await mine({ 'Actor-Id': 'ada' })).toEqual([1]);
    expect(await mine(token)).toEqual([2]);
    expect(await mine({})).toEqual([]);
    const { reached } = await readWinners(url, 'guests', 'views');
    expect(reached[0]!.actor).not.toBe(hashedKey('ada'));
    expect(reached[1]!.actor).toBe(hashedKey('ada'));
  });

  it('where reading requires a token, milestones require one, too', async () => {
    const { url } = await startGateway({ ...TOKENS, REQUIRE_TOKEN_TO_READ: 'true' });
    await armNew(url, 'closed', 'views', 1);
    expect(await readMilestones(url, 'closed', 'views')).toMatchObject({ code: 'UNAUTHORIZED' });
    const headers = { Authorization: `Bearer ${await sign('ada')}` };
    expect(await readMilestones(url, 'closed', 'views', headers)).toEqual({ armed: [1], reached: [] });
    const response = await fetch(`${url}/v1/closed/views/milestones`, { headers });
    expect(response.headers.get('cache-control')).toBe('no-store');
  });
});

import { createHash } from 'node:crypto';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { createShardedAdapter } from '@socket.io/redis-adapter';
import { Cluster, Redis } from 'ioredis';
import { Server } from 'socket.io';
import type { MineEvent } from '../../src/protocol/messages.js';
import { hashSlot } from '../../src/store/redis/client/hash-slot.js';
import { type Client, closeClients, connect, expectOk, untilConnected } from '../support/clients.js';
import { type LocalGateway, startLocalGateway, stopLocalGateways } from '../support/local-gateway.js';
import { closeWithRedis, type RedisServer, startRedis, stopRedis } from '../support/redis-server.js';
import { until } from '../support/until.js';
import { startCluster } from '../support/redis-cluster.js';

/** The channel of docs/operations.md. */
const PREFIX = 'tc:io';

/** A Redis that two gateways share. */
interface Shared {
  readonly url: string;
  /** A new client for the test, of the server that has the channel. */
  clientOf(channel: string): Promise<Redis>;
  /** The channel for an operator's program. */
  adapterClient(): Redis | Cluster;
}

const REDISES = [
  ['one Redis', shareServer],
  ['a Redis Cluster', shareCluster],
] as const;

/** Each gateway has its own store: events of one on another have come through the adapter. */
describe.each(REDISES)('the connections of an actor on two gateways with %s', (_, share) => {
  let shared: Shared;
  let a: LocalGateway;
  let b: LocalGateway;
  let operator: Server;
  let actor: string;
  let actors = 0;

  beforeAll(async () => {
    shared = await share();
    [a, b] = [await startLocalGateway(shared.url), await startLocalGateway(shared.url)];
    const [pub, sub] = [0, 1].map(() => closeWithRedis(shared.adapterClient()));
    operator = new Server({ adapter: createShardedAdapter(pub, sub, { channelPrefix: PREFIX }) });
  });

  beforeEach(() => {
    actor = `ada ${(actors += 1)} ☃`;
  });

  afterAll(end);

  it('other connections of an actor get `mine` for its like, and other actors get nothing', async () => {
    const [one, two, far] = [listen(a, actor), listen(a, actor), listen(b, actor)];
    const strangers = [listen(a, 'bob'), listen(b, 'bob'), listen(a), listen(b)];
    await Promise.all([one, two, far, ...strangers].map(({ socket }) => untilConnected(socket)));
    await untilSubscribed(shared, actor, 2);
    expectOk(await one.socket.emitWithAck('like', { post: 'x' }));
    await until(() => far.received.length === 1, 'the other gateway sends `mine`');
    // A repeated like changes nothing, so no `mine` follows.
    expectOk(await one.socket.emitWithAck('like', { post: 'x' }));
    // Events of this connection have come back from Redis before those that answer them.
    expectOk(await far.socket.emitWithAck('set', { post: 'y', metric: 'likes', on: true }));
    await until(() => one.received.length > 0 && two.received.length > 1, 'both connections get `mine`');
    const [x, y] = ['x', 'y'].map((post): MineEvent => ({ post, metric: 'likes', on: true }));
    for (const { socket } of strangers) expectOk(await socket.emitWithAck('unsubscribe', { posts: ['x'] }));
    expect([one, two, far, ...strangers].map(({ received }) => received)).toEqual([[y], [x, y], [x], [], [], [], []]);
  });

  it('all connections of an actor get `mine` for its like over HTTP', async () => {
    const here = [listen(a, actor), listen(b, actor), listen(b, actor)];
    await Promise.all(here.map(({ socket }) => untilConnected(socket)));
    await untilSubscribed(shared, actor, 2);
    const put = async (action: string): Promise<void> => {
      const headers = { 'Content-Type': 'application/json', 'Actor-Id': Buffer.from(actor).toString('latin1') };
      const body = JSON.stringify({ action });
      expect((await fetch(`${a.url}/v1/x/likes`, { method: 'PUT', headers, body })).status).toBe(200);
    };
    for (const action of ['increment', 'increment', 'decrement']) await put(action);
    await until(() => here.every(({ received }) => received.length === 2), 'all connections get `mine`');
    for (const { received } of here) expect(received.map(({ on }) => on)).toEqual([true, false]);
  });

  it('connections end with `bye` on every gateway, and stock clients reconnect', async () => {
    const { here, strangers } = await crowd();
    const byes = here.map((socket) => new Promise((resolve) => socket.once('bye', resolve)));
    const reasons = here.map(closedBy);
    const bye = { reason: 'your roles have changed', retryAfterMs: 0 };
    operator.in(roomOf(actor)).emit('bye', bye);
    expect(await Promise.all(byes)).toEqual(here.map(() => bye));
    expect(await Promise.all(reasons)).toEqual(here.map(() => 'transport close'));
    await Promise.all(here.map(untilConnected));
    expect(strangers.map(({ connected }) => connected)).toEqual([true, true]);
  });

  it('connections are closed on every gateway, and stock clients do not reconnect', async () => {
    const { here, strangers } = await crowd();
    const reasons = here.map(closedBy);
    operator.in(roomOf(actor)).disconnectSockets(true);
    expect(await Promise.all(reasons)).toEqual(here.map(() => 'io server disconnect'));
    expect(here.map(({ active }) => active)).toEqual(here.map(() => false));
    expect(strangers.map(({ connected }) => connected)).toEqual([true, true]);
    await untilSubscribed(shared, actor, 0);
  });

  it('streams end with `bye` on every gateway, and gateways leave the channel of an actor without connections', async () => {
    const headers = { 'Actor-Id': Buffer.from(actor).toString('latin1') };
    const open = async ({ url }: LocalGateway) => (await fetch(`${url}/v1/stream?posts=x`, { headers })).text();
    const ends = [/event: bye\ndata: {"reason":"renewed","retryAfterMs":7}\n\n$/, /event: bye\ndata: .*closed.*\n\n$/];
    for (const end of ends) {
      const texts = [a, b].map(open);
      await untilSubscribed(shared, actor, 2);
      if (end === ends[0]) operator.in(roomOf(actor)).emit('bye', { reason: 'renewed', retryAfterMs: 7 });
      else operator.in(roomOf(actor)).disconnectSockets(true);
      for (const text of await Promise.all(texts)) expect(text).toMatch(end);
      await untilSubscribed(shared, actor, 0);
    }
  });

  it('a program that requests all sockets gets no reply and does no harm', async () => {
    const { here } = await crowd();
    await expect(operator.timeout(300).fetchSockets()).rejects.toThrow('timeout');
    const event = new Promise((resolve) => here[2]!.once('mine', resolve));
    expectOk(await here[0]!.emitWithAck('like', { post: 'x' }));
    expect(await event).toMatchObject({ post: 'x' });
  });

  /** Two connections of the actor on one gateway, one on the other, and another actor on each. */
  async function crowd(): Promise<{ here: Client[]; strangers: Client[] }> {
    const here = [a, a, b].map(({ url }) => connect(url, { actor }));
    const strangers = [a, b].map(({ url }) => connect(url, { actor: 'bob' }));
    await Promise.all([...here, ...strangers].map(untilConnected));
    await untilSubscribed(shared, actor, 2);
    return { here, strangers };
  }
});

describe('the connections of an actor', () => {
  const actor = 'ada';
  let redis: RedisServer;
  let shared: Shared;
  let a: LocalGateway;
  let b: LocalGateway;

  beforeAll(async () => {
    redis = await startRedis();
    shared = sharing(redis);
    [a, b] = [await startLocalGateway(redis.url), await startLocalGateway(redis.url)];
  });

  afterAll(end);

  it('connections of an actor on the same gateway get `mine` while Redis hangs', async () => {
    const [one, two] = [listen(a, actor), listen(a, actor)];
    await Promise.all([one, two].map(({ socket }) => untilConnected(socket)));
    await redis.kill('SIGSTOP');
    try {
      expectOk(await one.socket.emitWithAck('like', { post: 'x' }));
      await until(() => two.received.length === 1, 'the other connection gets `mine`');
    } finally {
      await redis.kill('SIGCONT');
    }
  });

  it('connections of an actor on one gateway cost Redis nothing, and get `mine` as soon as one is on another', async () => {
    const client = redis.client();
    const published = async (): Promise<number> => {
      const [, calls] = /cmdstat_spublish:calls=(\d+)/.exec(await client.info('commandstats')) ?? [];
      return Number(calls ?? 0);
    };
    const lone = listen(a, 'lone');
    const toggle = async (on: boolean): Promise<void> => {
      expectOk(await lone.socket.emitWithAck('set', { post: 'x', metric: 'likes', on }));
    };
    await untilConnected(lone.socket);
    await untilSubscribed(shared, 'lone', 1);
    await toggle(true);
    await toggle(false);
    const before = await published();
    for (let i = 1; i <= 20; i++) await toggle(i % 2 === 1);
    expect(await published()).toBeLessThanOrEqual(before + 1);

    const far = listen(b, 'lone');
    await untilConnected(far.socket);
    await untilSubscribed(shared, 'lone', 2);
    // The first like may be on its way before the hello of the other gateway.
    let on = false;
    const isReceived = async (): Promise<boolean> => {
      await toggle((on = !on));
      return far.received.length > 0;
    };
    await until(isReceived, 'the other gateway sends `mine`');
    const { length } = far.received;
    for (let i = 1; i <= 4; i++) await toggle((on = !on));
    await until(() => far.received.length >= length + 4, 'each like is sent as `mine`');
  });

  it('connections of an actor on the same gateway get `mine` while Redis is down, and on all gateways afterwards', async () => {
    const [one, two, far] = [listen(a, actor), listen(a, actor), listen(b, actor)];
    await Promise.all([one, two, far].map(({ socket }) => untilConnected(socket)));
    await untilSubscribed(shared, actor, 2);
    await redis.kill('SIGKILL');
    expectOk(await one.socket.emitWithAck('like', { post: 'y' }));
    await until(() => two.received.length === 1, 'the other connection gets `mine`');
    // One connection opens, and one closes.
    const late = [listen(a, `${actor} late`), listen(b, `${actor} late`)];
    const gone = listen(b, `${actor} gone`);
    await Promise.all([...late, gone].map(({ socket }) => untilConnected(socket)));
    gone.socket.close();
    await redis.restart();
    for (const name of [actor, `${actor} late`]) await untilSubscribed(shared, name, 2);
    await untilSubscribed(shared, `${actor} gone`, 0);
    // The first like may be made before the hello of the other gateway.
    for (const [by, other] of [[one, far], late] as [Listener, Listener][]) {
      let on = true;
      const isReceived = async (): Promise<boolean> => {
        expectOk(await by.socket.emitWithAck('set', { post: 'y', metric: 'likes', on: (on = !on) }));
        return other.received.length > 0;
      };
      await until(isReceived, 'the other gateway sends `mine`');
    }
  });
});

interface Listener {
  readonly socket: Client;
  readonly received: MineEvent[];
}

function listen({ url }: LocalGateway, actor?: string): Listener {
  const socket = connect(url, actor === undefined ? {} : { actor });
  const received: MineEvent[] = [];
  socket.on('mine', (event) => received.push(event));
  return { socket, received };
}

function closedBy(socket: Client): Promise<string> {
  return new Promise((resolve) => socket.once('disconnect', (reason) => resolve(reason)));
}

/** The message of docs/operations.md. */
function roomOf(name: string): string {
  return `actor:${createHash('sha256').update(name).digest('hex').slice(0, 16)}`;
}

async function shareServer(): Promise<Shared> {
  return sharing(await startRedis());
}

function sharing(server: RedisServer): Shared {
  const { url } = server;
  return { url, clientOf: () => Promise.resolve(server.client()), adapterClient: () => new Redis(url) };
}

async function shareCluster(): Promise<Shared> {
  const cluster = await startCluster({ replicasEach: 0 });
  return {
    url: cluster.url,
    clientOf: async (channel) => (await cluster.findPrimary(hashSlot(channel))).client(),
    adapterClient: () => new Cluster([...cluster.nodes], { shardedSubscribers: true }),
  };
}

async function end(): Promise<void> {
  await closeClients();
  await stopLocalGateways();
  await stopRedis();
}

async function untilSubscribed(shared: Shared, actor: string, gateways: number): Promise<void> {
  const channel = `${PREFIX}#/#${roomOf(actor)}#`;
  const client = await shared.clientOf(channel);
  await until(
    async () => ((await client.call('PUBSUB', 'SHARDNUMSUB', channel)) as unknown[])[1] === gateways,
    `${gateways} gateways listen for ${actor}`,
  );
  client.disconnect();
}

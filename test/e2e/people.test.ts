import { Agent, get } from 'node:http';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { type Client, closeClients, connect, expectOk } from '../support/clients.js';
import { type GatewayProcess, startGateway, stopAll } from '../support/gateway-process.js';
import { readMetric } from '../support/metrics.js';
import { type RedisServer, startRedis, stopRedis } from '../support/redis-server.js';
import { until } from '../support/until.js';

const GATEWAYS = 3;
const PEOPLE = 1_000;
/** People who come at the same time. */
const AT_ONCE = 50;

let redis: RedisServer;
let gateways: GatewayProcess[];
let testCount = 0;
/** A new post for each test. */
let post: string;

beforeAll(async () => {
  redis = await startRedis();
  gateways = await Promise.all(Array.from({ length: GATEWAYS }, () => startGateway({ REDIS_URL: redis.url })));
});
beforeEach(() => {
  post = `hall-${(testCount += 1)}`;
});
afterAll(async () => {
  await closeClients();
  await stopAll();
  await stopRedis();
});

/** Opens a socket that watches the post. */
async function watch({ url }: GatewayProcess, actor?: string, present?: boolean): Promise<Client> {
  const socket = connect(url, actor === undefined ? {} : { actor }, { reconnection: false });
  await subscribe(socket, present);
  return socket;
}

async function subscribe(socket: Client, present?: boolean): Promise<void> {
  expectOk(await socket.emitWithAck('subscribe', { posts: [post], ...(present !== undefined && { present }) }));
}

/** Opens an event stream of the post. @returns a function that closes it */
async function openStream({ url }: GatewayProcess, actor?: string, query = ''): Promise<() => void> {
  return await new Promise((resolve, reject) => {
    const headers = actor === undefined ? {} : { 'Actor-Id': actor };
    const request = get(`${url}/v1/stream?posts=${post}${query}`, { headers, agent: new Agent() }, (response) => {
      response.on('error', () => undefined);
      response.once('data', () => resolve(() => request.destroy()));
    });
    request.on('error', reject);
  });
}

async function readJson<T>({ url }: GatewayProcess, path: string): Promise<T> {
  return (await (await fetch(url + path)).json()) as T;
}

/** The number of viewers at each gateway, over both routes. */
async function readLive(): Promise<number[]> {
  const alive = gateways.map(async (gateway) => {
    const { count } = await readJson<{ count: number }>(gateway, `/v1/${post}/live`);
    const { counts } = await readJson<{ counts: { live: number }[] }>(gateway, `/v1/counts?posts=${post}`);
    return [count, counts[0]!.live];
  });
  return (await Promise.all(alive)).flat();
}

async function untilLive(count: number): Promise<void> {
  let seen: number[] = [];
  const reached = async (): Promise<boolean> => (seen = await readLive()).every((live) => live === count);
  await until(reached, `each gateway has ${count} viewers`).catch((cause: unknown) => {
    throw new Error(`instead they have ${seen.join()}`, { cause });
  });
}

describe('the people at a post of three gateways', () => {
  it('three tabs and a phone of one actor are one viewer, and two readers without a name are two', async () => {
    const tabs = await Promise.all([0, 1, 2, 0].map((i) => watch(gateways[i]!, 'ada')));
    const shown = new Map<Client, number>();
    for (const tab of tabs) tab.on('counts', (updates) => shown.set(tab, updates[0]!.live));
    await untilLive(1);
    const readers = await Promise.all([0, 1].map((i) => watch(gateways[i]!)));
    await untilLive(3);
    const { url } = gateways[0]!;
    expect(await readMetric(url, 'tallycast_viewer_connections')).toBe(3);
    expect(await readMetric(url, 'tallycast_viewer_users')).toBe(2);
    const all = (): boolean => tabs.every((tab) => shown.get(tab) === 3);
    await until(all, 'each tab shows 3 viewers');

    tabs.pop()!.close();
    tabs.pop()!.close();
    readers.pop()!.close();
    await untilLive(2);
    for (const tab of tabs) tab.close();
    await untilLive(1);
  });

  it('a connection counts only while it says that it is present', async () => {
    const phone = await watch(gateways[0]!, 'ada', false);
    await watch(gateways[1]!, undefined, false);
    const streams = await Promise.all([
      openStream(gateways[2]!, undefined, '&present=false'),
      openStream(gateways[2]!, undefined, '&present=true'),
      openStream(gateways[2]!),
    ]);
    await untilLive(2);
    await watch(gateways[1]!, 'ada');
    await untilLive(3);
    await subscribe(phone);
    await untilLive(3);
    await subscribe(phone, false);
    for (const close of streams) close();
    await untilLive(1);
  });

  it('a wrong value of present is a bad request that names it', async () => {
    const response = await fetch(`${gateways[0]!.url}/v1/stream?posts=${post}&present=no`);
    expect(response.status).toBe(400);
    expect(await response.json()).toMatchObject({ code: 'BAD_REQUEST', message: 'present must be true or false' });
    const socket = connect(gateways[0]!.url);
    const answer = await socket.emitWithAck('subscribe', { posts: [post], present: 'no' as unknown as boolean });
    expect(answer).toMatchObject({ ok: false, error: { message: 'present must be true or false' } });
  });

  it('a thousand people at several gateways are counted exactly, also after a gateway was killed', async () => {
    // Every second person is at two gateways, and every tenth at all of them.
    const gatewaysOf = (i: number): number[] =>
      Array.from({ length: i % 10 === 0 ? 3 : i % 2 === 0 ? 2 : 1 }, (_, more) => (i + more) % GATEWAYS);
    const closeOf: (() => void)[][] = [];
    const enter = (i: number): Promise<(() => void)[]> =>
      Promise.all(gatewaysOf(i).map((gateway) => openStream(gateways[gateway]!, `person-${i}`)));
    while (closeOf.length < PEOPLE) {
      closeOf.push(...(await Promise.all(Array.from({ length: AT_ONCE }, (_, i) => enter(closeOf.length + i)))));
    }
    await untilLive(PEOPLE);
    for (const close of closeOf.splice(PEOPLE - 100).flat()) close();
    // These are still at another gateway.
    for (let i = 0; i < 300; i += 2) closeOf[i]!.pop()!();
    await untilLive(PEOPLE - 100);

    const killed = gateways.pop()!;
    await killed.kill('SIGKILL');
    const isElsewhere = (i: number): boolean =>
      gatewaysOf(i)
        .slice(0, closeOf[i]!.length)
        .some((one) => one !== 2);
    await untilLive(closeOf.filter((_, i) => isElsewhere(i)).length);
    for (const close of closeOf.flat()) close();
    await untilLive(0);
  });
});

it('each connection counts with LIVE=connections, and no person is named in Redis', async () => {
  const database = `${redis.url}/1`;
  gateways = [await startGateway({ REDIS_URL: database, LIVE: 'connections' })];
  const tabs = await Promise.all([0, 1].map(() => watch(gateways[0]!, 'ada')));
  await watch(gateways[0]!, 'ada', false);
  await untilLive(2);
  const client = redis.client();
  await client.select(1);
  const keys = async (): Promise<string[]> => (await client.keys('*')).map((key) => key.replace(/^tc:\{\d+\}/, ''));
  await until(async () => (await keys()).includes(':gateways'), 'the viewers are reported');
  expect((await keys()).filter((key) => key.startsWith(':people'))).toEqual([]);
  tabs[0]!.close();
  await untilLive(1);
});

it('a gateway that ends leaves nobody behind in Redis, also not those who have just left', async () => {
  gateways = [await startGateway({ REDIS_URL: `${redis.url}/2` })];
  const client = redis.client();
  await client.select(2);
  const countPeople = async (): Promise<number> => (await client.keys('*:people*')).length;
  await watch(gateways[0]!, 'ada');
  await until(async () => (await countPeople()) === 2, 'a person is reported');
  await gateways[0]!.kill('SIGTERM');
  expect(await countPeople()).toBe(0);
});

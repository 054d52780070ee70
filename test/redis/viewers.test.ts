import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import type { Redis } from 'ioredis';
import { systemClock } from '../../src/common/clock.js';
import { toKeyText } from '../../src/counters/ids.js';
import { parseRedisUrl } from '../../src/config/redis-url.js';
import { REPORTED_PEOPLE_MAX } from '../../src/fanout/post-presence.js';
import { RedisClient } from '../../src/store/redis/client/redis-client.js';
import { key, postIn } from '../contract/operations.js';
import { startRedis, stopRedis } from '../support/redis-server.js';
import { ReportingGateway } from '../support/reporting-gateway.js';

const POST = postIn(0);
const [ADA, BOB, CY] = [1, 2, 3].map((number) => toKeyText(key(number))) as [string, string, string];

let client: RedisClient;
let redis: Redis;
let gateway: ReportingGateway;
let other: ReportingGateway;

beforeAll(async () => {
  const server = await startRedis();
  redis = server.client();
  const options = { clock: systemClock, replicated: false, warn: () => undefined };
  client = await RedisClient.open(parseRedisUrl(server.url), options);
});
beforeEach(async () => {
  await redis.flushall();
  [gateway, other] = [new ReportingGateway(client, 'gateway'), new ReportingGateway(client, 'other')];
});
afterAll(async () => {
  await client.close();
  await stopRedis();
});

async function enterAll(one: ReportingGateway, people: Iterable<string | null>): Promise<void> {
  for (const person of people) one.enter({ post: POST, person, isPresent: true });
  await one.announce();
}

async function readLive(): Promise<number> {
  return Number(await redis.hget('tc:{0}:viewers', POST));
}

/** Reads all keys but one and the leases, each as its DUMP. */
async function readContents(except: string): Promise<Map<string, string>> {
  const keys = (await redis.keys('*')).filter((one) => one !== except && one !== 'tc:{0}:gateways').sort();
  return new Map(
    await Promise.all(keys.map(async (one) => [one, (await redis.dumpBuffer(one)).toString('hex')] as const)),
  );
}

/** Puts a text in the place of a key. @returns a function that undoes it */
async function obstruct(one: string): Promise<() => Promise<void>> {
  const before = (await redis.exists(one)) === 1 ? await redis.dumpBuffer(one) : null;
  await redis.set(one, 'in the way');
  return async () => {
    await redis.del(one);
    if (before !== null) await redis.restore(one, 0, before);
  };
}

describe('viewers of two gateways', () => {
  it('people beyond a thousand of a gateway count at each, and once again when fewer are there', async () => {
    const people = Array.from({ length: REPORTED_PEOPLE_MAX + 300 }, (_, i) => toKeyText(key(i)));
    await enterAll(gateway, people);
    expect(await readLive()).toBe(REPORTED_PEOPLE_MAX + 300);
    await enterAll(other, people);
    expect(await readLive()).toBe(REPORTED_PEOPLE_MAX + 600);
    for (const one of [gateway, other]) {
      for (let left = 0; left < 300; left++) one.leave(0);
      await one.announce();
    }
    expect(await readLive()).toBe(REPORTED_PEOPLE_MAX);
  });

  it.each([
    'viewers',
    'viewers:gateway',
    'people',
    'people:gateway',
    'publish_after',
    'publish_due',
    'gateways',
    'posts:0',
  ])('a report that Redis rejects changes nothing if %s has a wrong type', async (name) => {
    await enterAll(gateway, [ADA, BOB, null]);
    await enterAll(other, [ADA]);
    const wrong = `tc:{0}:${name}`;
    const mend = await obstruct(wrong);
    const before = await readContents(wrong);
    gateway.leave(0);
    await enterAll(gateway, [CY, null]);
    expect(await readContents(wrong)).toEqual(before);
    await mend();
    await gateway.sweep();
    await gateway.sweep();
    // Ada is still at the other gateway.
    expect(await readLive()).toBe(5);
  });

  it.each(['viewers', 'viewers:gateway', 'people', 'people:gateway'])(
    'the viewers of a dead gateway stay as they are while %s has a wrong type, and are removed afterwards',
    async (name) => {
      await enterAll(gateway, [ADA, BOB, null]);
      await enterAll(other, [ADA]);
      await redis.zadd('tc:{0}:gateways', 0, 'gateway');
      const wrong = `tc:{0}:${name}`;
      const mend = await obstruct(wrong);
      const before = await readContents(wrong);
      await expect(other.sweep()).rejects.toThrow('WRONGTYPE');
      expect(await readContents(wrong)).toEqual(before);
      await mend();
      await other.sweep();
      expect(await readLive()).toBe(1);
      expect((await redis.keys('*:gateway')).sort()).toEqual([]);
    },
  );
});

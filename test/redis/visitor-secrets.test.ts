import { afterAll, beforeAll, expect, test } from '@jest/globals';
import type { Redis } from 'ioredis';
import { RedisClient } from '../../src/store/redis/client/redis-client.js';
import { RedisVisitorSecrets } from '../../src/store/redis/redis-visitor-secrets.js';
import { parseRedisUrl } from '../../src/config/redis-url.js';
import { patientClock } from '../support/patient-clock.js';
import { type RedisServer, startRedis, stopRedis } from '../support/redis-server.js';

const DAY_MS = 86_400_000;
const KEY = 'tc:visitor_secret:2026-11-30';

let server: RedisServer;
let redis: Redis;
let clients: RedisClient[];

beforeAll(async () => {
  server = await startRedis();
  redis = server.client();
  const options = { clock: patientClock, replicated: false, warn: () => undefined };
  clients = await Promise.all([0, 1].map(() => RedisClient.open(parseRedisUrl(server.url), options)));
});

afterAll(async () => {
  await Promise.all(clients.map((client) => client.close()));
  await stopRedis();
});

test('of two gateways that claim at once both get the same secret, and Redis forgets it at the given time', async () => {
  const forgetAtMs = Date.now() + DAY_MS;
  const claims = clients.map((client, i) =>
    new RedisVisitorSecrets(client).claim('2026-11-30', Buffer.alloc(32, i + 1), forgetAtMs),
  );
  const [one, other] = await Promise.all(claims);
  const later = await new RedisVisitorSecrets(clients[0]!).claim('2026-11-30', Buffer.alloc(32, 3), forgetAtMs);
  expect([other, later]).toEqual([one, one]);
  expect([Buffer.alloc(32, 1), Buffer.alloc(32, 2)]).toContainEqual(one);
  expect(await redis.call('PEXPIRETIME', KEY)).toBe(forgetAtMs);
});

test('a secret whose time is over is in no key', async () => {
  await redis.del(KEY);
  const secrets = new RedisVisitorSecrets(clients[0]!);
  await secrets.claim('2026-11-30', Buffer.alloc(32, 1), Date.now() - 1);
  expect(await redis.keys('tc:visitor_secret:*')).toEqual([]);
});

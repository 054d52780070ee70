/**
 * Bytes of Redis's memory: the growth of its used_memory divided by the number of items. A counter's post has an id of 8
 * bytes: an integer of 19 digits.
 */
import { Redis } from 'ioredis';
import { systemClock } from '../../build/common/clock.js';
import { Metrics } from '../../build/counters/metrics.js';
import { RedisClient } from '../../build/store/redis/client/redis-client.js';
import { parseRedisUrl } from '../../build/config/redis-url.js';
import { RedisStore } from '../../build/store/redis/redis-store.js';
import { startRedis } from '../harness/servers.mjs';
import {
  BUCKETS,
  commitAll,
  growingIds,
  likeOfEach,
  likesOver,
  twoOfEach,
  viewOfEach,
  viewsOfSessions,
  visitsOver,
} from '../workload.mjs';

/** @returns rows `{ what, count, bytes, target }`: total bytes of `count` items; each should take at most `target` */
export async function redisRows({ posts, likes, redisGroup: group }) {
  return [
    await rowOf('a counter: views of posts', posts, viewOfEach(growingIds(posts)), group, 26),
    await rowOf('two counters: likes and views of posts', posts, twoOfEach(growingIds(posts)), group, 52),
    await rowOf('a like on one post', likes, likesOver(likes, 1), group, 11),
    await rowOf('a like over 1,000 posts', likes, likesOver(likes, 1_000), group, null),
    await rowOf('a post with one like', likes, likeOfEach(growingIds(likes)), group, null),
    await rowOf('a session mark', likes, viewsOfSessions(likes), group, 16),
    await rowOf('a mark of a visit', likes, visitsOver(likes, 1_000), group, 22),
    await registerRow(likes, group),
  ];
}

async function rowOf(what, count, operations, group, target) {
  return { what, count, bytes: await growth(operations, group, 'local'), target };
}

/** Measures the additional bytes of a like while another region may not have received it. */
async function registerRow(count, group) {
  const received = await growth(likesOver(count, 1_000), group, 'local');
  const unreceived = await growth(likesOver(count, 1_000), group, 'eu');
  return { what: 'more for a like, while another region is away', count, bytes: unreceived - received, target: 64 };
}

async function growth(operations, group, region) {
  const server = await startRedis();
  try {
    const options = { clock: systemClock, replicated: false, warn: () => undefined };
    const connections = await RedisClient.open(parseRedisUrl(server.url), options);
    const metrics = Metrics.parse('likes:toggle,views:unique@30m');
    const about = { metrics, buckets: BUCKETS, actorKeys: 'hash', gateway: 'bench-01', nonce: () => 1 };
    const data = {
      ...about,
      publishIntervalMs: 50,
      region,
      wallMs: () => Date.now(),
      hasPeers: region !== 'local',
      peers: [],
    };
    const store = await RedisStore.open(connections, systemClock, data);
    const client = new Redis(server.url);
    const before = await usedMemory(client);
    await commitAll(store, operations, group);
    const bytes = (await usedMemory(client)) - before;
    client.disconnect();
    await store.close();
    return bytes;
  } finally {
    await server.end();
  }
}

async function usedMemory(client) {
  return Number(/^used_memory:(\d+)/m.exec(await client.info('memory'))[1]);
}

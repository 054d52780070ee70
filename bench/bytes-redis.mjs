/**
 * Bytes of Redis's memory: the growth of its used_memory, divided by what was put in.
 *
 *     node bench/bytes-redis.mjs [counters=1000000] [likes=1000000] [marks=1000000] [group=4000] [--json FILE]
 *
 * Needs `npm run build` and a redis-server on PATH (or REDIS_SERVER_BIN), of which it starts one on a free port of
 * 127.0.0.1 that keeps nothing on disk, and ends it. A counter's post has an id of 8 bytes: an integer of 19 digits.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:net';
import process from 'node:process';
import { Redis } from 'ioredis';
import { systemClock } from '../dist/clock.js';
import { Metrics } from '../dist/counters/metrics.js';
import { RedisConnections } from '../dist/store/redis/connections.js';
import { parseRedisUrl } from '../dist/store/redis/redis-url.js';
import { RedisStore } from '../dist/store/redis/redis-store.js';
import {
  BUCKETS,
  commitAll,
  growingIds,
  likeOfEach,
  likesOver,
  optionsOf,
  report,
  twoOfEach,
  viewOfEach,
  viewsOfSessions,
} from './workload.mjs';

const {
  counters: COUNTERS,
  likes: LIKES,
  marks: MARKS,
  group: GROUP,
  jsonFile,
} = optionsOf({ counters: 1e6, likes: 1e6, marks: 1e6, group: 4_000 });

const rows = [
  await rowOf('a counter: views of posts', COUNTERS, viewOfEach(growingIds(COUNTERS)), 26),
  await rowOf('two counters: likes and views of posts', COUNTERS, twoOfEach(growingIds(COUNTERS)), 52),
  await rowOf('a like on one post', LIKES, likesOver(LIKES, 1), 11),
  await rowOf('a like over 1,000 posts', LIKES, likesOver(LIKES, 1_000), null),
  await rowOf('a post with one like', LIKES, likeOfEach(growingIds(LIKES)), null),
  await rowOf('a session mark', MARKS, viewsOfSessions(MARKS), 16),
];
await report(rows, jsonFile, { group: GROUP });

async function rowOf(what, count, operations, target) {
  const port = await freePort();
  const args = ['--port', String(port), '--bind', '127.0.0.1', '--save', '', '--appendonly', 'no'];
  const server = spawn(process.env.REDIS_SERVER_BIN ?? 'redis-server', args, { stdio: 'ignore' });
  const url = `redis://127.0.0.1:${port}`;
  try {
    const options = { clock: systemClock, replicated: false, warn: () => undefined };
    const connections = await RedisConnections.open(parseRedisUrl(url), options);
    const metrics = Metrics.parse('likes:toggle,views:tally');
    const data = { metrics, buckets: BUCKETS, region: 'local', gateway: 'bench-01', publishMs: 50, nonce: () => 1 };
    const store = await RedisStore.open(connections, systemClock, data);
    const client = new Redis(url);
    const before = await usedMemory(client);
    await commitAll(store, operations, GROUP);
    const bytes = (await usedMemory(client)) - before;
    client.disconnect();
    await store.close();
    return { what, count, bytes, target };
  } finally {
    const ended = once(server, 'exit');
    server.kill();
    await ended;
  }
}

async function usedMemory(client) {
  return Number(/^used_memory:(\d+)/m.exec(await client.info('memory'))[1]);
}

async function freePort() {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address();
  server.close();
  await once(server, 'close');
  return port;
}

import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { Redis } from 'ioredis';
import { bucketOf } from '../../src/counters/ids.js';
import { channelOf } from '../../src/store/redis/keys.js';
import { type Client, closeClients, connect, granted, untilConnected } from '../support/clients.js';
import { Watcher } from '../support/clients-watcher.js';
import { type GatewayProcess, startGateway, stopAll } from '../support/gateway-process.js';
import { type RedisServer, startRedis, stopRedis } from '../support/redis-server.js';
import { until } from '../support/until.js';

const GATEWAYS = [1, 4, 8];
const SOCKETS_A_GATEWAY = 3;
/** Of a socket, unanswered at a time. */
const WINDOW = 10;
const TICK_MS = 100;
/** Of a post, by whichever gateway: half a tick. */
const PUBLISH_MS = TICK_MS / 2;
const LASTS_MS = 3_000;
const BUCKETS = 64;
const LIMIT_MS = 60_000;
/** A second or two each, on a machine that does nothing else. */
const START_MS = 120_000;

describe('one Redis that gateways share', () => {
  let redis: RedisServer;
  let asking: Redis;
  let gateways: GatewayProcess[];
  let sockets: Client[][];

  beforeAll(async () => {
    redis = await startRedis();
    asking = redis.client();
    const env = { REDIS_URL: redis.url, TICK_MS: String(TICK_MS), MAX_OPS_PER_CONNECTION: '0' };
    gateways = [];
    while (gateways.length < GATEWAYS.at(-1)!) {
      gateways.push(...(await Promise.all([startGateway(env), startGateway(env)])));
    }
    sockets = gateways.map(({ url }) => Array.from({ length: SOCKETS_A_GATEWAY }, () => connect(url)));
    await Promise.all(sockets.flat().map(untilConnected));
  }, START_MS);

  afterAll(async () => {
    await closeClients();
    await stopAll();
    await stopRedis();
  });

  it.each(GATEWAYS)(
    `is told of a post that is watched at most once in ${PUBLISH_MS} ms, under the full load of %d of them, and of its end`,
    async (count) => {
      const post = `hot-${count}`;
      const heard = await listen(post);
      const watchers = gateways.slice(0, count).map(({ url }) => new Watcher(url, [post]));
      await Promise.all(watchers.map((watcher) => watcher.untilSubscribed()));
      const fromMs = await redisMs();
      heard.length = 0;
      const views = await viewAsFastAsAnswered(sockets.slice(0, count).flat(), post);
      await Promise.all(watchers.map((watcher) => watcher.untilShows({ [post]: { likes: 0, views } })));
      await until(() => viewsIn(heard.at(-1)) === views, 'the end is published');
      const { length } = heard;
      const passedMs = (await redisMs()) - fromMs;
      process.stderr.write(
        `${count} gateways: ${Math.round((views / passedMs) * 1_000)} views a second of one post, ` +
          `${((length / passedMs) * 1_000).toFixed(1)} messages a second\n`,
      );
      expect(length).toBeLessThanOrEqual(passedMs / PUBLISH_MS + 1);
      expect(length).toBeGreaterThan(1);
    },
    LIMIT_MS,
  );

  it(
    'is told nothing of posts that nobody watches',
    async () => {
      await asking.config('RESETSTAT');
      expect(await viewAsFastAsAnswered(sockets.flat(), 'unseen')).toBeGreaterThan(0);
      const stats = await asking.info('commandstats');
      // What scripts call is among them.
      expect(stats).toMatch(/^cmdstat_hset:/m);
      expect(stats).not.toMatch(/^cmdstat_s?publish:/m);
    },
    LIMIT_MS,
  );

  /** All that is published of the post, from now on. */
  async function listen(post: string): Promise<string[]> {
    const heard: string[] = [];
    const subscriber = redis.client();
    subscriber.on('smessage', (_channel: string, message: string) => heard.push(message));
    await subscriber.ssubscribe(channelOf(bucketOf(post, BUCKETS), post));
    return heard;
  }

  /** By the clock by which Redis paces what it publishes. */
  async function redisMs(): Promise<number> {
    const [seconds, microseconds] = await asking.time();
    return Number(seconds) * 1_000 + Number(microseconds) / 1_000;
  }
});

/** @returns how many views were counted, all of them acknowledged. */
async function viewAsFastAsAnswered(sockets: readonly Client[], post: string): Promise<number> {
  const end = performance.now() + LASTS_MS;
  let views = 0;
  const view = async (socket: Client): Promise<void> => {
    while (performance.now() < end) {
      granted(await socket.emitWithAck('view', { post }));
      views += 1;
    }
  };
  await Promise.all(sockets.flatMap((socket) => Array.from({ length: WINDOW }, () => view(socket))));
  return views;
}

/** `[epoch, nonce, version, time, live, likes, views]` */
function viewsIn(message: string | undefined): number | undefined {
  return message === undefined ? undefined : (JSON.parse(message) as number[])[6];
}

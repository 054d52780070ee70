import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { Redis } from 'ioredis';
import { bucketOf } from '../../src/counters/bucket-of.js';
import { buildCountsChannel } from '../../src/store/redis/codec/redis-keys.js';
import { type Client, closeClients, connect, expectOk, untilConnected } from '../support/clients.js';
import { TestViewer } from '../support/clients-viewer.js';
import { type GatewayProcess, startGateway, stopAll } from '../support/gateway-process.js';
import { type RedisServer, startRedis, stopRedis } from '../support/redis-server.js';
import { until } from '../support/until.js';

const SCALE = Number(process.env['TEST_SCALE'] ?? 1);
const GATEWAYS = SCALE > 1 ? [1, 4, 8] : [1, 3];
const SOCKETS_A_GATEWAY = 3;
/** Unacknowledged views of a socket at a time. */
const WINDOW = 10;
const TICK_MS = 100;
/** Interval of publishes of a post, by all gateways together: half a tick. */
const PUBLISH_MS = TICK_MS / 2;
/** Messages of each measured load: a second at half a tick each. */
const MESSAGES = 20 * SCALE;
const UNSEEN_VIEWS = 1_000;
const BUCKETS = 64;

describe('one Redis that gateways share', () => {
  let redis: RedisServer;
  let client: Redis;
  let gateways: GatewayProcess[];
  let sockets: Client[][];

  beforeAll(async () => {
    redis = await startRedis();
    client = redis.client();
    const env = { REDIS_URL: redis.url, TICK_MS: String(TICK_MS), MAX_OPS_PER_CONNECTION: '0' };
    gateways = await Promise.all(Array.from({ length: GATEWAYS.at(-1)! }, () => startGateway(env)));
    sockets = gateways.map(({ url }) => Array.from({ length: SOCKETS_A_GATEWAY }, () => connect(url)));
    await Promise.all(sockets.flat().map(untilConnected));
  });

  afterAll(async () => {
    await closeClients();
    await stopAll();
    await stopRedis();
  });

  it.each(GATEWAYS)(
    `%d gateways under full load send Redis at most one message in ${PUBLISH_MS} ms about a watched post, and the last change`,
    async (count) => {
      const post = `hot-${count}`;
      const published = await listen(post);
      const viewers = gateways.slice(0, count).map(({ url }) => new TestViewer(url, [post]));
      await Promise.all(viewers.map((viewer) => viewer.untilSubscribed()));
      const fromMs = await redisMs();
      published.length = 0;
      const views = await viewUntil(() => published.length > MESSAGES, sockets.slice(0, count).flat(), post);
      await Promise.all(viewers.map((viewer) => viewer.untilShows({ [post]: { likes: 0, views } })));
      await until(() => viewsIn(published.at(-1)) === views, 'the end is published');
      const { length } = published;
      const passedMs = (await redisMs()) - fromMs;
      process.stderr.write(
        `${count} gateways: ${Math.round((views / passedMs) * 1_000)} views a second of one post, ` +
          `${((length / passedMs) * 1_000).toFixed(1)} messages a second\n`,
      );
      expect(length).toBeLessThanOrEqual(passedMs / PUBLISH_MS + 1);
    },
  );

  it('gateways publish nothing about posts without viewers', async () => {
    await client.config('RESETSTAT');
    let sent = 0;
    await viewUntil(() => (sent += 1) > UNSEEN_VIEWS, sockets.flat(), 'unseen');
    const stats = await client.info('commandstats');
    // The statistics include commands that scripts call.
    expect(stats).toMatch(/^cmdstat_hset:/m);
    expect(stats).not.toMatch(/^cmdstat_s?publish:/m);
  });

  /** Collects all publishes of the post from now on. */
  async function listen(post: string): Promise<string[]> {
    const published: string[] = [];
    const subscriber = redis.client();
    subscriber.on('smessage', (_channel: string, message: string) => published.push(message));
    await subscriber.ssubscribe(buildCountsChannel(bucketOf(post, BUCKETS), post));
    return published;
  }

  /** Uses Redis's clock, which spaces the publishes. */
  async function redisMs(): Promise<number> {
    const [seconds, microseconds] = await client.time();
    return Number(seconds) * 1_000 + Number(microseconds) / 1_000;
  }
});

/** Sends each view after an earlier one was acknowledged. @returns the number of counted views, all acknowledged */
async function viewUntil(isEnough: () => boolean, sockets: readonly Client[], post: string): Promise<number> {
  let views = 0;
  const view = async (socket: Client): Promise<void> => {
    while (!isEnough()) {
      expectOk(await socket.emitWithAck('view', { post }));
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

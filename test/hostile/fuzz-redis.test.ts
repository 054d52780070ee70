import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { Redis } from 'ioredis';
import { LIMIT_MS } from '../property/runs.js';
import { closeClients } from '../support/clients.js';
import { stopAll } from '../support/gateway-process.js';
import { RawSocket } from '../support/raw-socket.js';
import { type RedisServer, startRedis, stopRedis } from '../support/redis-server.js';
import { until } from '../support/until.js';
import { fuzzInBatches, SEED } from './fuzz/fuzzing.js';
import { GatewayUnderFuzz } from './fuzz/gateway-under-fuzz.js';
import { KEPT } from './fuzz/kept-inputs.js';
import { redisMessages } from './fuzz/redis-messages.js';

const POST = 'watched';

interface Update extends Readonly<Record<string, unknown>> {
  readonly post: string;
  readonly e: string;
  readonly views: number;
  readonly d?: object;
}

let server: RedisServer;
let client: Redis;
let gateway: GatewayUnderFuzz;

beforeAll(async () => {
  // With persistence the gateway logs no warning about lost data.
  server = await startRedis({ args: ['--appendonly', 'yes'] });
  client = server.client();
  gateway = await GatewayUnderFuzz.start({ REDIS_URL: server.url });
});

afterAll(async () => {
  await closeClients();
  await stopAll();
  await stopRedis();
});

/** A viewer of one post with an actor, so that the gateway subscribes to the channels of both. */
class Viewer {
  readonly malformed: string[] = [];
  latest: Update | null = null;
  frames = 0;
  #raw: RawSocket | null = null;

  /** Reconnects if a message ended its connection, which is allowed. */
  async beThere(): Promise<void> {
    if (this.#raw?.socket.closed === false) return;
    const raw = await RawSocket.connect(gateway.url, '{"actor":"ada"}');
    raw.onPacket = (packet) => this.#take(packet);
    await raw.emitWithAck(`2#["subscribe",{"posts":["${POST}"]}]`);
    this.#raw = raw;
  }

  leave(): void {
    this.#raw?.destroy();
  }

  #take(packet: string): void {
    const json = /^2(\["counts",.*\])$/s.exec(packet)?.[1];
    if (json === undefined) return;
    this.frames += 1;
    try {
      for (const update of (JSON.parse(json) as [string, Update[]])[1]) {
        const { post, e, d = {}, ...counts } = update;
        const isWhole = [counts, d].every((one) => Object.values(one).every(Number.isSafeInteger));
        if (post !== POST || !/^[a-z0-9.]+$/.test(e) || !isWhole) this.malformed.push(packet);
        this.latest = update;
      }
    } catch {
      this.malformed.push(packet);
    }
  }
}

/** Publishes bytes, for which ioredis has no type. */
async function publish(channel: string, message: Buffer): Promise<void> {
  await client.call('SPUBLISH', channel, message);
}

describe(`fuzzed messages in Redis (TEST_SEED=${SEED})`, () => {
  const viewer = new Viewer();

  it(
    'fuzzed messages in Redis are ignored or decoded as counts',
    async () => {
      await viewer.beThere();
      const channels = (await client.call('PUBSUB', 'SHARDCHANNELS', 'tc:*')) as string[];
      await fuzzInBatches(2_000, redisMessages, KEPT.redisMessages, async (inputs) => {
        await viewer.beThere();
        await Promise.all(inputs.map(({ channel, message }) => publish(channels[channel % channels.length]!, message)));
        await gateway.expectHonestService();
        expect(viewer.malformed).toEqual([]);
      });
      expect(viewer.frames).toBeGreaterThan(0);
    },
    LIMIT_MS,
  );

  it('viewers have exact counts after fuzzed messages in Redis', async () => {
    await viewer.beThere();
    const response = await fetch(`${gateway.url}/v1/${POST}/views`, { method: 'PUT', body: '{"action":"increment"}' });
    const { count } = (await response.json()) as { count: number };
    expect(count).toBe(1);
    await until(
      () => viewer.latest?.views === count && viewer.latest.e.startsWith('local.1.'),
      'the viewer gets the true count',
    );
    viewer.leave();
  });

  it('fuzzed messages in Redis leave no memory and no log lines behind', () => gateway.expectNothingLeft(), LIMIT_MS);
});

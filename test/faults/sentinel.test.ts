import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { LIMIT_MS, SCALE } from '../property/runs.js';
import { closeClients } from '../support/clients.js';
import { startGateway, stopAll } from '../support/gateway-process.js';
import { readMetric } from '../support/metrics.js';
import { Random } from '../support/random.js';
import { type Sentinels, startSentinels } from '../support/redis-sentinel.js';
import {
  withClient,
  type RedisServer,
  startRedis,
  startReplica,
  stopRedis,
  untilInSync,
} from '../support/redis-server.js';
import { until } from '../support/until.js';
import { GatewaysUnderLoad } from './gateways-under-load.js';

const SOCKETS = 20;
const POSTS = Array.from({ length: 20 }, (_, i) => `post-${i}`);
const SEED = Number(process.env['TEST_SEED'] ?? Date.now() % 1_000_000);
const REPLICATED_ROUNDS = 2 * SCALE;
const COMMITTED_ROUNDS = SCALE;
/** In every second round the primary hangs until another one is elected, instead of being killed. */
const HANGS_EVERY = 2;
const ACKNOWLEDGED_MAX = 1_000;
/** Acknowledged operations that a promoted replica lacks, at least. */
const MISSING = 300;
/** With a shorter time, sentinels on a busy machine fail over from a primary that has just been promoted. */
const DOWN_AFTER_MS = 1_000;
/** Sentinels correct the primary of a replica after four periods. This one makes them correct it soon. */
const PUBLISH_MS = 200;
/** This period keeps sentinels from correcting a replica that the test has detached. */
const PUBLISH_SELDOM_MS = 60_000;
/** A port on which no server listens. */
const UNUSED_PORT = 1;
/** Operations are rejected after 5 s. A failover on a slow machine takes longer, so the gateways wait longer. */
const TIME_SCALE = 3;

describe('a primary that dies or hangs under load', () => {
  let replicated: Promise<void>;
  let committed: Promise<void>;

  // Both run at once, because a failover is mostly waiting.
  beforeAll(async () => {
    replicated = failOverReplicated();
    committed = failOverCommitted();
    await Promise.allSettled([replicated, committed]);
  }, LIMIT_MS);

  afterAll(async () => {
    await closeClients();
    await stopAll();
    await stopRedis();
  });

  it(`${REPLICATED_ROUNDS} failovers with ACK=replicated lose nothing and reject nothing (TEST_SEED=${SEED})`, () =>
    replicated);

  it(`${COMMITTED_ROUNDS} failovers with ACK=committed lose and reject nothing, although the replica lacks the last commits (TEST_SEED=${SEED})`, () =>
    committed);
});

async function failOverReplicated(): Promise<void> {
  const random = new Random(SEED);
  const monitored = await MonitoredPrimary.start(2);
  const urls = await startGateways(monitored, 'replicated');
  const load = new GatewaysUnderLoad(urls, POSTS, SOCKETS, random);
  for (let round = 1; round <= REPLICATED_ROUNDS; round++) {
    const label = { seed: SEED, round };
    const hangs = round % HANGS_EVERY === 0;
    const enough = load.crowd.untilAcknowledgements(1 + random.below(ACKNOWLEDGED_MAX));
    load.crowd.act();
    await enough;
    await monitored.failOver(hangs);
    await load.crowd.untilAcknowledgements(SOCKETS);
    if (!hangs) await load.expectNothingLost(label);
    await monitored.untilAllReplicate();
    await load.expectExact(label);
    expect({ ...label, ...load.errors }).toEqual({ ...label, rejections: 0, disconnects: 0 });
  }
}

async function failOverCommitted(): Promise<void> {
  const random = new Random(SEED);
  const monitored = await MonitoredPrimary.start(1);
  const urls = await startGateways(monitored, 'committed');
  const load = new GatewaysUnderLoad(urls, POSTS, SOCKETS, random);
  for (let round = 1; round <= COMMITTED_ROUNDS; round++) {
    const label = { seed: SEED, round };
    const hangs = round % HANGS_EVERY === 0;
    const before = await sumAt(urls, 'tallycast_replayed_batches_total');
    const enough = load.crowd.untilAcknowledgements(1 + random.below(ACKNOWLEDGED_MAX));
    load.crowd.act();
    await enough;
    await monitored.detachReplica();
    await load.crowd.untilAcknowledgements(MISSING);
    // Without an operation in flight, the gateways must detect the loss themselves.
    if (round % 2 === 1) {
      load.crowd.stop();
      await load.crowd.untilAcknowledged();
    }
    await monitored.failOver(hangs);
    await load.expectExact(label);
    expect(await sumAt(urls, 'tallycast_replayed_batches_total')).toBeGreaterThan(before);
    await monitored.untilAllReplicate();
    expect({ ...label, ...load.errors }).toEqual({ ...label, rejections: 0, disconnects: 0 });
  }
  expect(await sumAt(urls, 'tallycast_lost_batches_total')).toBe(0);
  expect(await sumAt(urls, 'tallycast_unknown_outcome_operations_total')).toBe(0);
}

/** A primary and its replicas, monitored by three sentinels. */
class MonitoredPrimary {
  private constructor(
    readonly sentinels: Sentinels,
    private readonly servers: readonly RedisServer[],
    private primary: RedisServer,
  ) {}

  static async start(replicas: number): Promise<MonitoredPrimary> {
    const primary = await startRedis();
    const others = await Promise.all(Array.from({ length: replicas }, () => startReplica(primary)));
    const sentinels = await startSentinels(primary, { downAfterMs: DOWN_AFTER_MS });
    return new MonitoredPrimary(sentinels, [primary, ...others], primary);
  }

  /** Ends the primary, and starts it again once another one is elected. The sentinels make it a replica. */
  async failOver(hangs: boolean): Promise<void> {
    const old = this.primary;
    await old.kill(hangs ? 'SIGSTOP' : 'SIGKILL');
    await this.#publishEvery(PUBLISH_MS);
    const isElected = async (): Promise<boolean> => {
      const { port } = await this.sentinels.readPrimary();
      this.primary = this.servers.find((server) => server.port === port)!;
      return this.primary !== old;
    };
    await until(isElected, 'another primary is elected');
    await (hangs ? old.kill('SIGCONT') : old.restart());
  }

  async untilAllReplicate(): Promise<void> {
    await Promise.all(this.#replicas.map((replica) => untilInSync(replica, this.primary)));
    await this.sentinels.untilHealthy(this.#replicas.length);
  }

  /** Stops replication until the next failover has ended. */
  async detachReplica(): Promise<void> {
    await this.#publishEvery(PUBLISH_SELDOM_MS);
    for (const replica of this.#replicas) {
      await withClient(replica, (client) => client.replicaof(replica.host, UNUSED_PORT));
    }
  }

  get #replicas(): RedisServer[] {
    return this.servers.filter((server) => server !== this.primary);
  }

  async #publishEvery(ms: number): Promise<void> {
    const period = ['PUBLISH-PERIOD', ms];
    for (const sentinel of this.sentinels.sentinels) {
      await withClient(sentinel, (client) => client.call('SENTINEL', 'DEBUG', ...period));
    }
  }
}

async function startGateways({ sentinels }: MonitoredPrimary, ack: string): Promise<string[]> {
  const env = { REDIS_URL: sentinels.url, ACK: ack, MAX_OPS_PER_CONNECTION: '0' };
  const gateways = await Promise.all([0, 1].map(() => startGateway(env, { timeScale: TIME_SCALE })));
  return gateways.map(({ url }) => url);
}

async function sumAt(urls: readonly string[], metric: string): Promise<number> {
  const values = await Promise.all(urls.map((url) => readMetric(url, metric)));
  return values.reduce((sum, value) => sum + value, 0);
}

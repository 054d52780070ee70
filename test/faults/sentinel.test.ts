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

const SOCKETS = 50;
const POSTS = Array.from({ length: 20 }, (_, i) => `post-${i}`);
const SEED = Number(process.env['TEST_SEED'] ?? Date.now() % 1_000_000);
const REPLICATED_ROUNDS = 2 * SCALE;
const COMMITTED_ROUNDS = SCALE;
/** In every such round the primary is not killed: it stops, and goes on when another one is there. */
const HANGS_EVERY = 2;
const ACKNOWLEDGED_MAX = 1_000;
/** What a replica lacks, at least, when it is promoted. */
const LACKED = 300;
/** With less, a busy machine makes them take a primary for dead that has just been promoted. */
const DOWN_AFTER_MS = 1_000;
/** Four of these, and sentinels correct whom a replica follows: normally soon, … */
const PUBLISH_MS = 200;
/** … and not while it is to follow nobody. */
const PUBLISH_SELDOM_MS = 60_000;
/** Refuses. */
const NOWHERE = 1;
/** A failover that takes long on a slow machine is to end before operations are refused, which is after 5 s. */
const TIME_SCALE = 3;

describe('a primary that dies or hangs under load', () => {
  let replicated: Promise<void>;
  let committed: Promise<void>;

  // Side by side: a failover is mostly waiting.
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

  it(`costs clients of ACK=replicated a pause and nothing else, ${REPLICATED_ROUNDS} times (TEST_SEED=${SEED})`, () =>
    replicated);

  it(`with ACK=committed, too, when its replica lacks the last commits, ${COMMITTED_ROUNDS} times (TEST_SEED=${SEED})`, () =>
    committed);
});

async function failOverReplicated(): Promise<void> {
  const random = new Random(SEED);
  const guarded = await Guarded.start(2);
  const urls = await startGateways(guarded, 'replicated');
  const load = new GatewaysUnderLoad(urls, POSTS, SOCKETS, random);
  for (let round = 1; round <= REPLICATED_ROUNDS; round++) {
    const label = { seed: SEED, round };
    const hangs = round % HANGS_EVERY === 0;
    const enough = load.crowd.untilAcknowledgements(1 + random.below(ACKNOWLEDGED_MAX));
    load.crowd.act();
    await enough;
    await guarded.failOver(hangs);
    await load.crowd.untilAcknowledgements(SOCKETS);
    if (!hangs) await load.expectNothingLost(label);
    await guarded.untilWhole();
    await load.expectExact(label);
    expect({ ...label, ...load.errors }).toEqual({ ...label, refusals: 0, disconnects: 0 });
  }
}

async function failOverCommitted(): Promise<void> {
  const random = new Random(SEED);
  const guarded = await Guarded.start(1);
  const urls = await startGateways(guarded, 'committed');
  const load = new GatewaysUnderLoad(urls, POSTS, SOCKETS, random);
  for (let round = 1; round <= COMMITTED_ROUNDS; round++) {
    const label = { seed: SEED, round };
    const hangs = round % HANGS_EVERY === 0;
    const before = await sumAt(urls, 'tallycast_replayed_batches_total');
    const enough = load.crowd.untilAcknowledgements(1 + random.below(ACKNOWLEDGED_MAX));
    load.crowd.act();
    await enough;
    await guarded.detachReplica();
    await load.crowd.untilAcknowledgements(LACKED);
    // With no operation on its way only the gateways can know that something is missing.
    if (round % 2 === 1) {
      load.crowd.stop();
      await load.crowd.untilAcknowledged();
    }
    await guarded.failOver(hangs);
    await load.expectExact(label);
    expect(await sumAt(urls, 'tallycast_replayed_batches_total')).toBeGreaterThan(before);
    await guarded.untilWhole();
    expect({ ...label, ...load.errors }).toEqual({ ...label, refusals: 0, disconnects: 0 });
  }
  expect(await sumAt(urls, 'tallycast_lost_batches_total')).toBe(0);
  expect(await sumAt(urls, 'tallycast_unknown_outcome_operations_total')).toBe(0);
}

/** A primary and its replicas, guarded by three sentinels. */
class Guarded {
  private constructor(
    readonly sentinels: Sentinels,
    private readonly servers: readonly RedisServer[],
    private primary: RedisServer,
  ) {}

  static async start(replicas: number): Promise<Guarded> {
    const primary = await startRedis();
    const others = await Promise.all(Array.from({ length: replicas }, () => startReplica(primary)));
    const sentinels = await startSentinels(primary, { downAfterMs: DOWN_AFTER_MS });
    return new Guarded(sentinels, [primary, ...others], primary);
  }

  /** Ends the primary, and starts it again when another one is elected: the sentinels make it a replica. */
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

  async untilWhole(): Promise<void> {
    await Promise.all(this.#replicas.map((replica) => untilInSync(replica, this.primary)));
    await this.sentinels.untilHealthy(this.#replicas.length);
  }

  /** From now on the replica gets nothing, until after the next failover. */
  async detachReplica(): Promise<void> {
    await this.#publishEvery(PUBLISH_SELDOM_MS);
    for (const replica of this.#replicas) {
      await withClient(replica, (client) => client.replicaof(replica.host, NOWHERE));
    }
  }

  get #replicas(): RedisServer[] {
    return this.servers.filter((server) => server !== this.primary);
  }

  async #publishEvery(ms: number): Promise<void> {
    const pace = ['PUBLISH-PERIOD', ms];
    for (const sentinel of this.sentinels.sentinels) {
      await withClient(sentinel, (client) => client.call('SENTINEL', 'DEBUG', ...pace));
    }
  }
}

async function startGateways({ sentinels }: Guarded, ack: string): Promise<string[]> {
  const env = { REDIS_URL: sentinels.url, ACK: ack, MAX_OPS_PER_CONNECTION: '0' };
  const gateways = await Promise.all([0, 1].map(() => startGateway(env, { timeScale: TIME_SCALE })));
  return gateways.map(({ url }) => url);
}

async function sumAt(urls: readonly string[], metric: string): Promise<number> {
  const values = await Promise.all(urls.map((url) => readMetric(url, metric)));
  return values.reduce((sum, value) => sum + value, 0);
}

import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { LIMIT_MS, SCALE } from '../property/runs.js';
import { closeClients } from '../support/clients.js';
import { startGateway, stopAll } from '../support/gateway-process.js';
import { readMetric } from '../support/metrics.js';
import { Random } from '../support/random.js';
import { MonitoredPrimary } from '../support/monitored-primary.js';
import { stopRedis } from '../support/redis-server.js';
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

async function startGateways({ sentinels }: MonitoredPrimary, ack: string): Promise<string[]> {
  const env = { REDIS_URL: sentinels.url, ACK: ack, MAX_OPS_PER_CONNECTION: '0' };
  const gateways = await Promise.all([0, 1].map(() => startGateway(env, { timeScale: TIME_SCALE })));
  return gateways.map(({ url }) => url);
}

async function sumAt(urls: readonly string[], metric: string): Promise<number> {
  const values = await Promise.all(urls.map((url) => readMetric(url, metric)));
  return values.reduce((sum, value) => sum + value, 0);
}

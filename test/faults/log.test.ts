import { afterAll, afterEach, describe, expect, it } from '@jest/globals';
import { LIMIT_MS, SCALE } from '../property/runs.js';
import { stopAll } from '../support/gateway-process.js';
import { startNats, stopNats } from '../support/nats-server.js';
import { Random } from '../support/random.js';
import { RedisPair } from '../support/redis-pair.js';
import { startRedis, stopRedis } from '../support/redis-server.js';
import { until } from '../support/until.js';
import { EventSenders } from './event-senders.js';
import { LogDeployment, natsUrl } from './log-deployment.js';

const SEED = Number(process.env['TEST_SEED'] ?? Date.now() % 1_000_000);
/** With TEST_SCALE=20: 5,000 events a second, and a store that is down for 30 s. */
const EVENTS_PER_SECOND = Math.min(5_000, 1_000 * SCALE);
const OUTAGE_EVENTS = EVENTS_PER_SECOND * Math.min(30, 1.5 * SCALE);
/** Events of a phase in which something else fails. */
const PHASE_EVENTS = EVENTS_PER_SECOND;
const ROUNDS = Math.ceil(SCALE / 5);
const GROWTH_MAX_BYTES = 192 * 2 ** 20;
const DURABLE = ['--appendonly', 'yes', '--appendfsync', 'always'];

let deployment: LogDeployment;
let senders: EventSenders;

afterEach(async () => {
  await senders.end();
  await deployment.close();
  await stopAll();
});

afterAll(() => Promise.all([stopRedis(), stopNats()]));

function startSenders(): void {
  senders = new EventSenders(deployment.addresses, new Random(SEED), EVENTS_PER_SECOND);
  senders.start();
}

async function untilAccepted(events: number): Promise<void> {
  const before = senders.accepted;
  await until(() => senders.accepted >= before + events, `${events} events are accepted`, LIMIT_MS);
}

async function untilApplied(events: number): Promise<void> {
  const before = await deployment.sum('tallycast_log_applied_total');
  await until(
    async () => (await deployment.sum('tallycast_log_applied_total')) >= before + events,
    `${events} events are counted`,
  );
}

async function untilNothingWaits(): Promise<void> {
  await until(async () => (await deployment.sum('tallycast_log_lag_seconds')) === 0, 'no event of the log waits');
}

/** Fails unless every gateway reads exactly what was sent. */
async function expectExact(): Promise<void> {
  await senders.end();
  const url = deployment.urls[0]!;
  await until(async () => (await senders.findDifferences(url)).length === 0, 'all events are counted').catch(
    () => undefined,
  );
  await untilNothingWaits();
  for (const each of deployment.urls) expect(await senders.findDifferences(each)).toEqual([]);
  expect(await deployment.sum('tallycast_log_missed_ranges_total')).toBe(0);
}

describe(`a log in front of a store (TEST_SEED=${SEED})`, () => {
  it(
    'events count once each while the store is down, and when it fails over, a gateway or the log is killed',
    async () => {
      const [store, log] = await Promise.all([RedisPair.start(), startRedis({ args: DURABLE })]);
      deployment = await LogDeployment.start(store, log, {});
      startSenders();
      await untilApplied(PHASE_EVENTS);

      const memory = await deployment.sum('process_resident_memory_bytes');
      deployment.toStore.refuse();
      await untilAccepted(OUTAGE_EVENTS);
      expect([...senders.failures]).toEqual([]);
      const growth = (await deployment.sum('process_resident_memory_bytes')) - memory;
      const lagSeconds = await deployment.sum('tallycast_log_lag_seconds');
      expect(lagSeconds).toBeGreaterThan(0);
      expect(growth).toBeLessThan(GROWTH_MAX_BYTES);
      deployment.toStore.accept();
      const upAtMs = performance.now();
      await untilNothingWaits();
      process.stderr.write(
        `${OUTAGE_EVENTS} events waited for up to ${lagSeconds} s, and were counted within ` +
          `${((performance.now() - upAtMs) / 1_000).toFixed(1)} s; two gateways grew by ${growth >> 20} MiB\n`,
      );

      for (let round = 1; round <= ROUNDS; round++) {
        if (round > 1) await store.attachReplica();
        await store.detachReplica();
        await untilApplied(PHASE_EVENTS);
        await store.failOver();
        await untilApplied(PHASE_EVENTS);
        await deployment.killReader(() => untilApplied(PHASE_EVENTS / 2));
        await log.kill('SIGKILL');
        await log.restart();
        await untilApplied(PHASE_EVENTS);
      }
      await expectExact();
    },
    LIMIT_MS,
  );

  it(
    'with ACK=replicated every accepted event outlasts a failover of the log',
    async () => {
      const [store, log] = await Promise.all([RedisPair.start(), RedisPair.start()]);
      deployment = await LogDeployment.start(store, log, { ACK: 'replicated' });
      startSenders();
      for (let round = 1; round <= ROUNDS; round++) {
        await untilApplied(PHASE_EVENTS / 2);
        await log.failOver();
        await log.attachReplica();
      }
      await untilApplied(PHASE_EVENTS / 2);
      await expectExact();
    },
    LIMIT_MS,
  );

  it(
    'a log in NATS counts each event once while it, a gateway or the store is killed',
    async () => {
      const [store, log] = await Promise.all([startRedis({ args: DURABLE }), startNats()]);
      deployment = await LogDeployment.start(store, log, {}, natsUrl);
      startSenders();
      for (let round = 1; round <= ROUNDS; round++) {
        await untilApplied(PHASE_EVENTS / 2);
        await store.kill('SIGKILL');
        await untilAccepted(PHASE_EVENTS);
        await store.restart();
        await untilApplied(PHASE_EVENTS);
        await log.kill();
        await log.restart();
        await deployment.killReader(() => untilApplied(PHASE_EVENTS / 2));
      }
      await untilApplied(PHASE_EVENTS / 2);
      await expectExact();
    },
    LIMIT_MS,
  );
});

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import type { Redis } from 'ioredis';
import { systemClock } from '../../src/common/clock.js';
import { Metrics } from '../../src/counters/metrics.js';
import type { Delta } from '../../src/counters/replication/delta.js';
import { DeltaAdmission } from '../../src/replication/delta-admission.js';
import { DeltaValidation } from '../../src/replication/transport/delta-validation.js';
import { EmbeddedStore } from '../../src/store/embedded/embedded-store.js';
import type { CounterStore } from '../../src/store/counter-store.js';
import type { ReplicatedStore } from '../../src/store/replicated-store.js';
import { ReferenceStore } from '../contract/reference-store.js';
import { LIMIT_MS } from '../property/runs.js';
import { type RedisServer, startRedis, stopRedis } from '../support/redis-server.js';
import { openRedisStore } from '../support/redis-store.js';
import { scaled, SEED } from './fuzz/fuzzing.js';
import { KEPT } from './fuzz/kept-inputs.js';
import { BUCKETS, deltas, DELTA_POSTS } from './fuzz/deltas.js';

const METRICS = Metrics.parse('likes:toggle,views:tally');
const NONCE = 7;
const REGION = 'eu';
const RUNS = 60;
const SHIPMENTS_MAX = 12;

type Store = Pick<CounterStore, 'read'> & { readonly regions: Pick<ReplicatedStore, 'merge'> };

const rules = new DeltaValidation(BUCKETS, 'hash', METRICS);
/** Wall time after all stamps, because stores do not check clocks. */
const clock = { ...systemClock, wallMs: () => Date.UTC(2059, 0) };
const OTHERS = new Set(['us', 'ap']);
/** Calls of a gateway for deltas of another region, one after the other. */
const calls = fc.array(
  deltas.map((list) => admitted(list.filter(isAllowed))),
  { minLength: 1, maxLength: SHIPMENTS_MAX },
);

function isAllowed(delta: Delta): boolean {
  try {
    rules.check('us', [delta]);
    return true;
  } catch {
    return false;
  }
}

function admitted(list: readonly Delta[]): Delta[] {
  const admission = new DeltaAdmission(OTHERS, clock, () => undefined);
  return admission.admit('us', list).map(({ delta }) => delta);
}

let server: RedisServer;
let client: Redis;

beforeAll(async () => {
  server = await startRedis();
  client = server.client();
});
afterAll(stopRedis);

async function onDisk(use: (store: Store) => Promise<void>): Promise<void> {
  const path = mkdtempSync(join(tmpdir(), 'tallycast-fuzz-'));
  const replication = { wallMs: () => 0, peers: ['us'] };
  const of = { buckets: BUCKETS, actorKeys: 'hash', metrics: METRICS, region: REGION } as const;
  const options = { path, ...of, nonce: () => NONCE, replication };
  const store = new EmbeddedStore(options);
  const { replication: regions } = store;
  try {
    await use({ read: (posts, actor) => store.read(posts, actor), regions: regions! });
  } finally {
    await store.close();
    rmSync(path, { recursive: true });
  }
}

async function inRedis(use: (store: Store) => Promise<void>): Promise<void> {
  await client.flushall();
  const store = await openRedisStore(server.url, {
    metrics: METRICS,
    buckets: BUCKETS,
    region: REGION,
    nonce: () => NONCE,
  });
  try {
    await use({ read: (posts, actor) => store.read(posts, actor), regions: store.replication! });
  } finally {
    await store.close();
  }
}

describe(`well-formed random deltas (TEST_SEED=${SEED})`, () => {
  it.each([
    ['the embedded store', onDisk],
    ['the store on Redis', inRedis],
  ])(
    '%s merges random deltas like the reference and returns the same acks',
    async (_name, open) => {
      await fc.assert(
        fc.asyncProperty(calls, (lists) =>
          open(async (store) => {
            const reference = new ReferenceStore(
              METRICS,
              BUCKETS,
              { region: REGION, epoch: 1, nonce: NONCE },
              () => NONCE,
            );
            for (const list of lists) {
              expect(await store.regions.merge(list)).toEqual(await reference.merge(list));
            }
            expect(await store.read(DELTA_POSTS, null)).toEqual(await reference.read(DELTA_POSTS, null));
          }),
        ),
        { seed: SEED, numRuns: scaled(RUNS), examples: KEPT.calls.map((lists): [Delta[][]] => [lists]) },
      );
    },
    LIMIT_MS,
  );
});

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { open } from 'lmdb';
import { Metrics, VIEWS } from '../../src/counters/metrics.js';
import { INCARNATIONS_MAX, REGIONS_MAX } from '../../src/counters/pn-counter.js';
import type { EntryDelta, Delta } from '../../src/counters/replication/delta.js';
import { decodeDeltas, encodeDeltas } from '../../src/replication/transport/delta-codec.js';
import type { CounterStore } from '../../src/store/counter-store.js';
import { EmbeddedStore } from '../../src/store/embedded/embedded-store.js';
import type { ReplicatedStore } from '../../src/store/replicated-store.js';
import { Producer, START_MS, view } from '../contract/operations.js';
import { ReferenceStore } from '../contract/reference-store.js';
import { startRedis, stopRedis } from '../support/redis-server.js';
import { openRedisStore } from '../support/redis-store.js';

const METRICS = Metrics.parse('likes:toggle,views:tally');
const BASE = { actorKeys: 'hash' as const, buckets: 1, metrics: METRICS, region: 'eu', nonce: () => 1 };

let path: string;

beforeEach(() => {
  path = mkdtempSync(join(tmpdir(), 'tallycast-incarnations-'));
});
afterEach(() => rmSync(path, { recursive: true }));
afterAll(stopRedis);

/** A post for each entry, so that entries of one region do not replace each other. */
function buildDelta(entries: readonly Omit<EntryDelta, 'metric' | 'n'>[], post = 'post'): Delta {
  return {
    ...{
      kind: 'full-sync',
      bucket: 0,
      startedAtStamp: 0,
      predecessors: [],
      after: 0,
      upTo: 0,
      ackedUpTo: 0,
      stableStamp: 0,
      fullSyncReceiver: null,
    },
    source: { region: 'us', epoch: 1, nonce: 2 },
    posts: entries.map((entry, i) => ({
      ...{ post: `${post}-${i}`, updatedAtMs: START_MS, registers: [], members: [] },
      entries: [{ ...entry, metric: VIEWS, n: 0 }],
    })),
  };
}

/** Successive incarnations of a third region. */
function incarnations(count: number, first = 1): Delta {
  const epochs = Array.from({ length: count }, (_, i) => first + i);
  const entries = epochs.map((epoch) => ({ incarnation: { region: 'ap', epoch, nonce: epoch }, p: 1 }));
  return buildDelta(entries, `from-${first}`);
}

function openEmbedded(): EmbeddedStore {
  return new EmbeddedStore({ path, ...BASE, replication: { wallMs: () => START_MS, peers: ['us'] } });
}

/** Reads the number of transactions of the data file. */
async function readTransactions(): Promise<number> {
  const root = open({ path: join(path, 'counters.mdb'), noSubdir: true });
  const { lastTxnId } = root.getStats() as { lastTxnId: number };
  await root.close();
  return lastTxnId;
}

async function countTransactions(delta: Delta): Promise<number> {
  let store = openEmbedded();
  await store.close();
  const before = await readTransactions();
  store = openEmbedded();
  await store.replication!.merge([delta]);
  await store.close();
  return (await readTransactions()) - before;
}

interface Opened {
  readonly store: CounterStore;
  readonly regions: ReplicatedStore;
}

const stores: readonly (readonly [string, () => Promise<Opened>])[] = [
  [
    'the reference',
    () => {
      const store = new ReferenceStore(METRICS, 1, { region: 'eu', epoch: 1, nonce: 1 }, () => 1);
      return Promise.resolve({ store, regions: store });
    },
  ],
  [
    'the embedded store',
    () => {
      const store = openEmbedded();
      return Promise.resolve({ store, regions: store.replication! });
    },
  ],
  [
    'Redis',
    async () => {
      const store = await openRedisStore((await startRedis()).url, BASE);
      return { store, regions: store.replication! };
    },
  ],
];

describe('a delta with many incarnations of a third region', () => {
  it('a delta with many incarnations takes as few transactions as one with a single incarnation', async () => {
    const one = await countTransactions(incarnations(1));
    rmSync(path, { recursive: true });
    expect(await countTransactions(incarnations(INCARNATIONS_MAX))).toBe(one);
  });

  it('a message with more incarnations than the limit is rejected', () => {
    const most = encodeDeltas([incarnations(INCARNATIONS_MAX)]);
    expect(decodeDeltas(most)[0]!.posts).toHaveLength(INCARNATIONS_MAX);
    const tooMany = encodeDeltas([incarnations(INCARNATIONS_MAX + 1)]);
    expect(() => decodeDeltas(tooMany)).toThrow('incarnations must be at most 1001');
  });

  it.each(stores.slice(1))('%s rejects an incarnation above the limit and continues to count', async (_, openStore) => {
    const { store, regions } = await openStore();
    await regions.merge([incarnations(INCARNATIONS_MAX)]);
    await expect(regions.merge([incarnations(1, INCARNATIONS_MAX + 1)])).rejects.toThrow(
      /1000 incarnations of other regions/,
    );
    const [ack] = await regions.merge([
      buildDelta([{ incarnation: { region: 'ap', epoch: INCARNATIONS_MAX, nonce: INCARNATIONS_MAX }, p: 7 }]),
    ]);
    expect(ack).toMatchObject({ incarnationRejected: false });
    await store.commit(new Producer('producer-1').batch(0, [view('post-0')]));
    expect((await store.read(['post-0'], null))[0]!.counts.totals).toEqual([0, 8]);
    await store.close();
  });
});

describe('a delta with entries of many regions', () => {
  it.each(stores)('%s accepts entries of unknown regions up to the limit only', async (_, openStore) => {
    const { store, regions } = await openStore();
    const names = Array.from({ length: 3 * REGIONS_MAX }, (_, i) => `r-${i}`);
    for (const region of names) {
      const incarnation = { region, epoch: 1, nonce: 1 };
      await regions.merge([buildDelta([{ incarnation, p: 1 }])]);
    }
    // One of the regions is the one that pushes.
    expect((await store.read(['post-0'], null))[0]!.counts.totals).toEqual([0, REGIONS_MAX - 1]);
    await store.commit(new Producer('producer-1').batch(0, [view('post-0')]));
    expect((await store.read(['post-0'], null))[0]!.counts.totals).toEqual([0, REGIONS_MAX]);
    await store.close();
  });
});

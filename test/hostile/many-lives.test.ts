import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { open } from 'lmdb';
import { Metrics, VIEWS } from '../../src/counters/metrics.js';
import { LIVES_MAX, REGIONS_MAX } from '../../src/counters/pn-counter.js';
import type { EntryShipment, Shipment } from '../../src/counters/replication/delta.js';
import { decodeShipments, encodeShipments } from '../../src/replication/transport/delta-codec.js';
import type { CounterStore } from '../../src/store/counter-store.js';
import { EmbeddedStore } from '../../src/store/embedded/embedded-store.js';
import type { ReplicatedStore } from '../../src/store/replicated-store.js';
import { Life, START_MS, view } from '../contract/operations.js';
import { ReferenceStore } from '../contract/reference-store.js';
import { startRedis, stopRedis } from '../support/redis-server.js';
import { openRedisStore } from '../support/redis-store.js';

const METRICS = Metrics.parse('likes:toggle,views:tally');
const BASE = { actorKeys: 'hash' as const, buckets: 1, metrics: METRICS, region: 'eu', nonce: () => 1 };

let path: string;

beforeEach(() => {
  path = mkdtempSync(join(tmpdir(), 'tallycast-lives-'));
});
afterEach(() => rmSync(path, { recursive: true }));
afterAll(stopRedis);

/** A post for each entry, so that entries of one region do not replace each other. */
function shipmentOf(entries: readonly Omit<EntryShipment, 'metric' | 'n'>[], post = 'post'): Shipment {
  return {
    ...{ kind: 'scan', bucket: 0, born: 0, goesOn: [], after: 0, upTo: 0, confirmed: 0, floor: 0, shown: null },
    source: { region: 'us', epoch: 1, nonce: 2 },
    posts: entries.map((entry, i) => ({
      ...{ post: `${post}-${i}`, updatedAtMs: START_MS, registers: [], members: [] },
      entries: [{ ...entry, metric: VIEWS, n: 0 }],
    })),
  };
}

/** Ever later lives of a third region. */
function lives(count: number, first = 1): Shipment {
  const epochs = Array.from({ length: count }, (_, i) => first + i);
  const entries = epochs.map((epoch) => ({ replica: { region: 'ap', epoch, nonce: epoch }, p: 1 }));
  return shipmentOf(entries, `from-${first}`);
}

function openEmbedded(): EmbeddedStore {
  return new EmbeddedStore({ path, ...BASE, regional: { wallMs: () => START_MS } });
}

/** How many transactions the data file has seen. */
async function transactions(): Promise<number> {
  const root = open({ path: join(path, 'counters.mdb'), noSubdir: true });
  const { lastTxnId } = root.getStats() as { lastTxnId: number };
  await root.close();
  return lastTxnId;
}

async function transactionsOf(shipment: Shipment): Promise<number> {
  let store = openEmbedded();
  await store.close();
  const before = await transactions();
  store = openEmbedded();
  await store.regions!.merge([shipment]);
  await store.close();
  return (await transactions()) - before;
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
      return Promise.resolve({ store, regions: store.regions! });
    },
  ],
  [
    'Redis',
    async () => {
      const store = await openRedisStore((await startRedis()).url, BASE);
      return { store, regions: store.regions! };
    },
  ],
];

describe('a shipment that names many lives of a third region', () => {
  it('is written by as few transactions as one that names a single life', async () => {
    const one = await transactionsOf(lives(1));
    rmSync(path, { recursive: true });
    expect(await transactionsOf(lives(LIVES_MAX))).toBe(one);
  });

  it('is refused as a message above the limit', () => {
    const most = encodeShipments([lives(LIVES_MAX)]);
    expect(decodeShipments(most)[0]!.posts).toHaveLength(LIVES_MAX);
    const tooMany = encodeShipments([lives(LIVES_MAX + 1)]);
    expect(() => decodeShipments(tooMany)).toThrow('lives must be at most 1001');
  });

  it.each(stores.slice(1))('is refused by %s once so many are known, which goes on counting', async (_, openStore) => {
    const { store, regions } = await openStore();
    await regions.merge([lives(LIVES_MAX)]);
    await expect(regions.merge([lives(1, LIVES_MAX + 1)])).rejects.toThrow(
      '1000 lives of other regions are known, and ap is said to have begun another',
    );
    const [receipt] = await regions.merge([
      shipmentOf([{ replica: { region: 'ap', epoch: LIVES_MAX, nonce: LIVES_MAX }, p: 7 }]),
    ]);
    expect(receipt).toMatchObject({ refused: false });
    await store.commit(new Life('life-one').batch(0, [view('post-0')]));
    expect((await store.read(['post-0'], null))[0]!.counts.totals).toEqual([0, 8]);
    await store.close();
  });
});

describe('a shipment that counts in the names of many regions', () => {
  it.each(stores)('is taken by %s for the first of them only', async (_, openStore) => {
    const { store, regions } = await openStore();
    const names = Array.from({ length: 3 * REGIONS_MAX }, (_, i) => `r-${i}`);
    for (const region of names) {
      const replica = { region, epoch: 1, nonce: 1 };
      await regions.merge([shipmentOf([{ replica, p: 1 }])]);
    }
    // One of them is the region that ships.
    expect((await store.read(['post-0'], null))[0]!.counts.totals).toEqual([0, REGIONS_MAX - 1]);
    await store.commit(new Life('life-one').batch(0, [view('post-0')]));
    expect((await store.read(['post-0'], null))[0]!.counts.totals).toEqual([0, REGIONS_MAX]);
    await store.close();
  });
});

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from '@jest/globals';
import { Metrics } from '../../src/counters/metrics.js';
import type { Delta } from '../../src/counters/replication/delta.js';
import { EmbeddedStore } from '../../src/store/embedded/embedded-store.js';
import type { ReplicatedStore } from '../../src/store/replicated-store.js';
import { ReferenceStore } from '../contract/reference-store.js';
import { Random } from '../support/random.js';
import { History, readAlike, sendAlike, type Shape } from './histories.js';
import { asRepair, plainFullSync, plainDelta } from './plain-deltas.js';
import { LIMIT_MS, SCALE } from './runs.js';

const HISTORIES = 8 * SCALE;
const STEPS = 120;
const SEED = Number(process.env['TEST_SEED'] ?? Date.now() % 1_000_000);
const NAMES = ['eu', 'us', 'ap'];
const NONCE = 7;
const BASE = { buckets: 2, postsABucket: 3, sessions: 5, gateways: 2, large: 300, largeChance: 0.03 };
const METRICS = Metrics.parse('likes:toggle,views:tally,saves:toggle');
/** Few actors, of whom much clashes; and so many that sets and registers move to chunks. */
const SHAPES: readonly Shape[] = [
  { ...BASE, metrics: METRICS, actors: 8 },
  { ...BASE, metrics: METRICS, actors: 900 },
];

/** A region twice: on disk, and as it is meant. */
class Region {
  readonly reference: ReferenceStore;
  readonly history: History;
  readonly #path = mkdtempSync(join(tmpdir(), 'tallycast-regions-'));
  store: EmbeddedStore;
  /** What the last receipts of each peer say it has, by bucket. */
  readonly has = new Map<string, number>();

  constructor(
    readonly name: string,
    private readonly shape: Shape,
    seed: number,
  ) {
    const { metrics, buckets } = shape;
    this.reference = new ReferenceStore(metrics, buckets, { region: name, epoch: 1, nonce: NONCE }, () => NONCE);
    this.history = new History(shape, new Random(seed));
    this.store = this.#open();
  }

  get buckets(): number[] {
    return Array.from({ length: this.shape.buckets }, (_, bucket) => bucket);
  }

  get both(): [ReplicatedStore, ReplicatedStore] {
    return [this.reference, this.store.replication!];
  }

  async reopen(): Promise<void> {
    await this.store.close();
    this.store = this.#open();
    this.history.restart();
  }

  async close(): Promise<void> {
    await this.store.close();
    rmSync(this.#path, { recursive: true });
  }

  #open(): EmbeddedStore {
    const { metrics, buckets } = this.shape;
    const nonce = (): number => NONCE;
    return new EmbeddedStore({
      path: this.#path,
      buckets,
      actorKeys: 'hash',
      metrics,
      region: this.name,
      nonce,
      replication: { wallMs: () => 0 },
    });
  }

  /** Asks both. @returns what both have answered */
  async alike<T>(ask: (store: ReplicatedStore) => Promise<T>): Promise<T> {
    const [meant, found] = [await ask(this.both[0]), await ask(this.both[1])];
    expect([this.name, found]).toEqual([this.name, meant]);
    return meant;
  }
}

async function step(regions: readonly Region[], random: Random): Promise<void> {
  const from = random.pick(regions);
  const to = random.pick(regions.filter((region) => region !== from));
  const turn = random.next();
  if (turn < 0.4) await sendAlike(from.store, from.reference, [from.history.next(), from.history.next()], 0);
  else if (turn < 0.75) await shipChanges(from, to, regions);
  else if (turn < 0.9) await shipAll(from, to, random);
  else if (turn < 0.95) await from.reopen();
  else await begin(from, random);
  await from.alike((one) => one.bucketStatus(from.buckets));
}

async function shipChanges(from: Region, to: Region, regions: readonly Region[]): Promise<void> {
  const peers = regions.filter((region) => region !== from).map(({ name }) => name);
  const has = (peer: string, bucket: number): number => from.has.get(`${peer} ${bucket}`) ?? 0;
  const asked = from.buckets.map((bucket) => {
    return { bucket, after: has(to.name, bucket), ackedUpTo: Math.min(...peers.map((peer) => has(peer, bucket))) };
  });
  const [meant, found] = await Promise.all(from.both.map((one) => one.changesSince(asked, peers, 10_000)));
  const shipments: Delta[] = [];
  for (const [i, shipment] of found!.entries()) {
    // After a restart the one on disk knows of fewer changes, and is scanned.
    if (shipment === null || meant![i] === null) continue;
    expect(plainDelta(shipment)).toEqual(plainDelta(meant![i]!));
    shipments.push(shipment);
  }
  await merge(from, to, shipments);
}

async function shipAll(from: Region, to: Region, random: Random): Promise<void> {
  const theirs = await to.alike((one) => one.bucketStatus(to.buckets));
  await from.alike((one) =>
    one.observeIncarnations(
      to.name,
      theirs.map((life, bucket) => [bucket, life] as const),
    ),
  );
  const own = await from.alike((one) => one.bucketStatus(from.buckets));
  const pages = await Promise.all(from.both.map((one) => allPages(one, new Set(from.buckets))));
  expect(plainFullSync(pages[1]!)).toEqual(plainFullSync(pages[0]!));
  const shipments = pages[0]!;
  if (random.chance(0.3))
    return merge(
      from,
      to,
      shipments.map((one) => asRepair(one, random)),
    );
  const ends = shipments.map((shipment) => {
    const { bucket } = shipment;
    const { clock } = own[bucket]!;
    return {
      ...shipment,
      posts: [],
      kind: 'full-sync-end' as const,
      after: clock,
      upTo: clock,
      fullSyncReceiver: theirs[bucket]!,
    };
  });
  await merge(from, to, [...shipments, ...ends]);
}

async function begin(region: Region, random: Random): Promise<void> {
  const [{ epoch, clock } = { epoch: 1, clock: 0 }] = await region.alike((one) => one.bucketStatus([0]));
  if (random.chance(0.5)) await region.alike((one) => one.completeBackfill(region.buckets));
  // One of all buckets: on disk they share their life.
  else {
    const rewindsClock = random.chance(0.3);
    const about = {
      clock: Math.max(0, clock - random.below(50_000)),
      needsBackfill: !rewindsClock && random.chance(0.5),
      rewindsClock,
    };
    const life = { ...about, epoch: rewindsClock ? epoch : epoch - random.below(2) };
    await region.alike((one) => one.startIncarnation(region.buckets, life));
  }
}

async function merge(from: Region, to: Region, shipments: readonly Delta[]): Promise<void> {
  const receipts = await to.alike((one) => one.merge(shipments));
  for (const { bucket, upTo } of receipts) from.has.set(`${to.name} ${bucket}`, upTo);
}

async function allPages(store: ReplicatedStore, buckets: ReadonlySet<number>): Promise<Delta[]> {
  const found = new Map<number, Delta>();
  for (let cursor: string | null = ''; cursor !== null;) {
    const page: Awaited<ReturnType<ReplicatedStore['fullSyncPage']>> = await store.fullSyncPage(buckets, cursor, 3);
    for (const one of page.deltas) {
      found.set(one.bucket, { ...one, posts: [...(found.get(one.bucket)?.posts ?? []), ...one.posts] });
    }
    cursor = page.next;
  }
  return [...found.values()];
}

describe(`regions on disk answer and keep what the reference does (TEST_SEED=${SEED})`, () => {
  it(
    `in ${HISTORIES} histories of ${STEPS} steps, with restarts`,
    async () => {
      for (let seed = SEED; seed < SEED + HISTORIES; seed++) {
        const shape = SHAPES[seed % SHAPES.length]!;
        const regions = NAMES.map((name, i) => new Region(name, shape, seed * NAMES.length + i));
        const random = new Random(seed);
        try {
          for (let i = 0; i < STEPS; i++) await step(regions, random);
          for (const { store, reference, history } of regions) {
            await readAlike(store, reference, history.allPosts, history.actors.slice(0, 30));
          }
        } catch (error) {
          throw new Error(`the history of seed ${seed}`, { cause: error });
        } finally {
          for (const region of regions) await region.close();
        }
      }
    },
    LIMIT_MS,
  );
});

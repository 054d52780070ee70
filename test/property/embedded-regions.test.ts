import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from '@jest/globals';
import { Metrics } from '../../src/counters/metrics.js';
import type { Delta } from '../../src/counters/replication/delta.js';
import { HOME_RULES } from '../../src/counters/replication/home-rules.js';
import { EmbeddedStore } from '../../src/store/embedded/embedded-store.js';
import type { ReplicatedStore } from '../../src/store/replicated-store.js';
import { ReferenceStore } from '../contract/reference-store.js';
import { Random } from '../support/random.js';
import { ArmedMilestones } from './armed-milestones.js';
import { History, readAlike, sendAlike, type Shape } from './histories.js';
import { asRepair, normalizeFullSync, normalizeDelta } from './normalized-deltas.js';
import { LIMIT_MS, SCALE } from './runs.js';

const HISTORIES = 8 * SCALE;
const STEPS = 120;
/** How often a milestone is armed before a step. */
const ARMED = 0.6;
const SEED = Number(process.env['TEST_SEED'] ?? Date.now() % 1_000_000);
const NAMES = ['eu', 'us', 'ap'];
const NONCE = 7;
const BASE = { buckets: 2, postsABucket: 3, sessions: 5, gateways: 2, large: 300, largeChance: 0.03 };
const METRICS = Metrics.parse('likes:toggle,views:unique@30m,yes:choice@vote,no:choice@vote');
/** Few actors, so that much conflicts, and so many that sets and registers move to chunks. */
const SHAPES: readonly Shape[] = [
  { ...BASE, metrics: METRICS, actors: 8 },
  { ...BASE, metrics: METRICS, actors: 900 },
];

function peersOf(name: string): string[] {
  return NAMES.filter((other) => other !== name);
}

/** A region twice: on disk, and as the reference. */
class Region {
  readonly reference: ReferenceStore;
  readonly history: History;
  readonly milestones: ArmedMilestones;
  readonly #path = mkdtempSync(join(tmpdir(), 'tallycast-regions-'));
  store: EmbeddedStore;
  /** The stamps up to which each peer has acked, by bucket. */
  readonly has = new Map<string, number>();

  constructor(
    readonly name: string,
    private readonly shape: Shape,
    seed: number,
    hasHomes: boolean,
  ) {
    const { metrics, buckets } = shape;
    const incarnation = { region: name, epoch: 1, nonce: NONCE };
    const regions = { peers: peersOf(name), rules: HOME_RULES, isDurable: () => true };
    const nonce = (): number => NONCE;
    this.reference = new ReferenceStore(
      metrics,
      buckets,
      incarnation,
      nonce,
      undefined,
      undefined,
      undefined,
      undefined,
      regions,
    );
    const random = new Random(seed);
    this.history = new History(shape, random);
    this.milestones = new ArmedMilestones(this.history, random, this.reference, hasHomes);
    this.store = this.#open();
  }

  get buckets(): number[] {
    return Array.from({ length: this.shape.buckets }, (_, bucket) => bucket);
  }

  get both(): [ReplicatedStore, ReplicatedStore] {
    return [this.reference, this.store.replication!];
  }

  /** Compares milestones. @returns how many records name nobody, because a merge has passed their numbers */
  async countMissed(): Promise<number> {
    await this.milestones.compare(this.store);
    const views = this.history.allPosts.flatMap((post) =>
      this.shape.metrics.list.map(({ index }) => this.reference.milestones.read(post, index)),
    );
    return (await Promise.all(views)).flatMap(({ reached }) => reached).filter(({ missed }) => missed).length;
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
      replication: { wallMs: () => 0, peers: peersOf(this.name) },
    });
  }

  /** Calls both. @returns their result, which must be the same */
  async compare<T>(call: (store: ReplicatedStore) => Promise<T>): Promise<T> {
    const [expected, found] = [await call(this.both[0]), await call(this.both[1])];
    expect([this.name, found]).toEqual([this.name, expected]);
    return expected;
  }
}

async function step(regions: readonly Region[], random: Random): Promise<void> {
  const from = random.pick(regions);
  const to = random.pick(regions.filter((region) => region !== from));
  if (random.chance(ARMED)) await from.milestones.change(from.store);
  if (random.chance(0.3)) await from.compare((one) => one.acquireLeases(0));
  const turn = random.next();
  if (turn < 0.4)
    await sendAlike(
      from.store,
      from.reference,
      [1, 2].map(() => from.milestones.forward(from.history.next())),
      0,
    );
  else if (turn < 0.75) await pushChanges(from, to, regions);
  else if (turn < 0.9) await pushAll(from, to, random);
  else if (turn < 0.95) await from.reopen();
  else await startIncarnation(from, random);
  await from.compare((one) => one.bucketStatus(from.buckets));
}

async function pushChanges(from: Region, to: Region, regions: readonly Region[]): Promise<void> {
  const peers = regions.filter((region) => region !== from).map(({ name }) => name);
  const has = (peer: string, bucket: number): number => from.has.get(`${peer} ${bucket}`) ?? 0;
  const requests = from.buckets.map((bucket) => {
    return { bucket, after: has(to.name, bucket), ackedUpTo: Math.min(...peers.map((peer) => has(peer, bucket))) };
  });
  const [expected, found] = await Promise.all(from.both.map((one) => one.changesSince(requests, peers, 10_000)));
  const deltas: Delta[] = [];
  for (const [i, delta] of found!.entries()) {
    // After a restart the store on disk has fewer changes in its feed, and needs a full sync.
    if (delta === null || expected![i] === null) continue;
    expect(normalizeDelta(delta)).toEqual(normalizeDelta(expected![i]!));
    deltas.push(delta);
  }
  await merge(from, to, deltas);
}

async function pushAll(from: Region, to: Region, random: Random): Promise<void> {
  const theirs = await to.compare((one) => one.bucketStatus(to.buckets));
  await from.compare((one) =>
    one.observeIncarnations(
      to.name,
      theirs.map((incarnation, bucket) => [bucket, incarnation] as const),
    ),
  );
  const own = await from.compare((one) => one.bucketStatus(from.buckets));
  const pages = await Promise.all(from.both.map((one) => allPages(one, new Set(from.buckets))));
  expect(normalizeFullSync(pages[1]!)).toEqual(normalizeFullSync(pages[0]!));
  const deltas = pages[0]!;
  if (random.chance(0.3))
    return merge(
      from,
      to,
      deltas.map((one) => asRepair(one, random)),
    );
  const ends = deltas.map((delta) => {
    const { bucket } = delta;
    const { clock } = own[bucket]!;
    return {
      ...delta,
      posts: [],
      kind: 'full-sync-end' as const,
      after: clock,
      upTo: clock,
      fullSyncReceiver: theirs[bucket]!,
    };
  });
  await merge(from, to, [...deltas, ...ends]);
}

async function startIncarnation(region: Region, random: Random): Promise<void> {
  const [{ epoch, clock } = { epoch: 1, clock: 0 }] = await region.compare((one) => one.bucketStatus([0]));
  if (random.chance(0.5)) await region.compare((one) => one.completeBackfill(region.buckets));
  // All buckets at once, because on disk they share their incarnation.
  else {
    const rewindsClock = random.chance(0.3);
    const about = {
      clock: Math.max(0, clock - random.below(50_000)),
      needsBackfill: !rewindsClock && random.chance(0.5),
      rewindsClock,
    };
    const incarnation = { ...about, epoch: rewindsClock ? epoch : epoch - random.below(2) };
    await region.compare((one) => one.startIncarnation(region.buckets, incarnation));
  }
}

async function merge(from: Region, to: Region, deltas: readonly Delta[]): Promise<void> {
  const acks = await to.compare((one) => one.merge(deltas));
  for (const { bucket, upTo } of acks) from.has.set(`${to.name} ${bucket}`, upTo);
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

describe(`regions on disk return and keep what the reference does (TEST_SEED=${SEED})`, () => {
  it(
    `regions on disk equal the reference in ${HISTORIES} histories of ${STEPS} steps, with restarts`,
    async () => {
      let missed = 0;
      let frozen = 0;
      for (let seed = SEED; seed < SEED + HISTORIES; seed++) {
        const shape = SHAPES[seed % SHAPES.length]!;
        const hasHomes = seed % (2 * SHAPES.length) < SHAPES.length;
        const regions = NAMES.map((name, i) => new Region(name, shape, seed * NAMES.length + i, hasHomes));
        const random = new Random(seed);
        try {
          for (let i = 0; i < STEPS; i++) await step(regions, random);
          for (const region of regions) {
            const { store, reference, history } = region;
            await readAlike(store, reference, history.allPosts, history.actors.slice(0, 30));
            missed += await region.countMissed();
            frozen += await region.milestones.countFrozen(store);
          }
        } catch (error) {
          throw new Error(`the history of seed ${seed}`, { cause: error });
        } finally {
          for (const region of regions) await region.close();
        }
      }
      // Histories without any would prove nothing.
      expect(missed).toBeGreaterThan(0);
      expect(frozen).toBeGreaterThan(0);
    },
    LIMIT_MS,
  );
});

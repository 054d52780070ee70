import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { bucketOf } from '../../src/counters/bucket-of.js';
import { LIKES, Metrics } from '../../src/counters/metrics.js';
import type { EntryDelta, PostDelta, ToggleRegister, Delta } from '../../src/counters/replication/delta.js';
import { toRegionNumber, firstStampAt } from '../../src/counters/replication/hybrid-clock.js';
import type { CounterStore } from '../../src/store/counter-store.js';
import { EmbeddedStore } from '../../src/store/embedded/embedded-store.js';
import type { ReplicatedStore } from '../../src/store/replicated-store.js';
import { key, START_MS } from '../contract/operations.js';
import { ReferenceStore } from '../contract/reference-store.js';
import { startRedis, stopRedis } from '../support/redis-server.js';
import { openRedisStore } from '../support/redis-store.js';
import { normalizePosts } from './normalized-deltas.js';
import { LIMIT_MS, RUNS } from './runs.js';

const SEED = Number(process.env['TEST_SEED'] ?? Date.now() % 1_000_000);
/** Enough that each order of merging has a bucket of its own. */
const BUCKETS = 4_096;
const METRICS = Metrics.parse('likes:toggle,views:tally');
const ACTORS = 3;
/** The region that merges. Deltas have entries of it, too. */
const OWN = 'eu';
const SOURCES = ['us', 'ap'] as const;
const NEWEST = 3;
/** Stamps a region: few, so that they are often equal. */
const STAMPS = 12;

/** The fragment of a delta about one post: counts, toggle updates, or both. */
interface PostFragment {
  readonly source: string;
  readonly entries: readonly EntryDelta[];
  readonly registers: readonly ToggleRegister[];
}

const number = fc.integer({ min: 0, max: 9 });

/** A source sends only its current incarnation; of a region without a link here others may still send earlier ones. */
const incarnations = fc.oneof(
  fc.constantFrom(...SOURCES).map((region) => ({ region, epoch: NEWEST })),
  fc.record({ region: fc.constant('sa'), epoch: fc.integer({ min: 1, max: NEWEST }) }),
);

const entries = fc
  .record({ incarnation: incarnations, p: number, n: number })
  .map(({ incarnation, p, n }): EntryDelta => {
    // No region takes away more than it has added.
    return { metric: LIKES, incarnation: { ...incarnation, nonce: 10 * incarnation.epoch }, p: p + 1 + n, n };
  });

const registers = fc
  .record({
    actor: fc.integer({ min: 0, max: ACTORS - 1 }),
    region: fc.constantFrom(OWN, ...SOURCES),
    at: fc.integer({ min: 0, max: STAMPS - 1 }),
    // Two updates may have one stamp: one was lost, and a clock that had been set back gave the stamp again.
    on: fc.boolean(),
  })
  .map(({ actor, region, at, on }): ToggleRegister => {
    return { metric: LIKES, actor: key(actor), stamp: firstStampAt(START_MS) + 256 * at + toRegionNumber(region), on };
  });

const messages: fc.Arbitrary<PostFragment[]> = fc.array(
  fc.record({
    source: fc.constantFrom(...SOURCES),
    entries: fc.array(entries, { maxLength: 2 }),
    registers: fc.array(registers, { maxLength: 2 }),
  }),
  { minLength: 1, maxLength: 8 },
);

/** Messages, and an order in which all of them arrive, some twice. */
const deliveries = messages.chain((fragments) => {
  const index = fc.integer({ min: 0, max: fragments.length - 1 });
  const all = fc.shuffledSubarray([...fragments.keys()], { minLength: fragments.length });
  return fc.record({ fragments: fc.constant(fragments), order: all, again: fc.array(index, { maxLength: 4 }) });
});

let posts = 0;

/** A post that has a bucket to itself. */
function newPost(used: Set<number>): string {
  for (;;) {
    const post = `post-${(posts += 1)}`;
    const bucket = bucketOf(post, BUCKETS);
    if (used.has(bucket)) continue;
    used.add(bucket);
    return post;
  }
}

function buildFullSync(post: string, source: string, fragments: readonly PostFragment[]): Delta {
  const about = fragments.map(({ entries, registers }): PostDelta => ({
    post,
    updatedAtMs: START_MS,
    entries,
    registers,
    members: [],
  }));
  return {
    ...{ kind: 'full-sync', bucket: bucketOf(post, BUCKETS), startedAtStamp: 0, predecessors: [] },
    ...{ after: 0, upTo: 0, ackedUpTo: 0, stableStamp: 0, fullSyncReceiver: null },
    source: { region: source, epoch: NEWEST, nonce: 10 * NEWEST },
    posts: about,
  };
}

interface Tested {
  readonly store: CounterStore;
  readonly replication: ReplicatedStore;
}

/** Everything that a store has of a post: counts, likes, entries and registers. */
async function readState({ store, replication }: Tested, post: string): Promise<object> {
  const views = await Promise.all(Array.from({ length: ACTORS }, (_, actor) => store.read([post], key(actor))));
  const deltas = await replication.readPosts([post]);
  const known = normalizePosts(deltas.flatMap((delta) => delta.posts));
  return { totals: views[0]![0]!.counts.totals, on: views.map(([view]) => view!.on), known: known[`post ${post}`] };
}

async function expectSameState(
  tested: Tested,
  used: Set<number>,
  fragments: readonly PostFragment[],
  order: readonly number[],
): Promise<void> {
  const [one, other, together] = [newPost(used), newPost(used), newPost(used)];
  for (const message of fragments) await tested.replication.merge([buildFullSync(one, message.source, [message])]);
  for (const i of order) await tested.replication.merge([buildFullSync(other, fragments[i]!.source, [fragments[i]!])]);
  await tested.replication.merge(
    SOURCES.map((source) =>
      buildFullSync(
        together,
        source,
        fragments.filter((message) => message.source === source),
      ),
    ),
  );
  const meant = await readState(tested, one);
  expect(await readState(tested, other)).toEqual(meant);
  expect(await readState(tested, together)).toEqual(meant);
}

const path = mkdtempSync(join(tmpdir(), 'tallycast-merging-'));
const nonce = (): number => 7;

function openReference(): Tested {
  const store = new ReferenceStore(METRICS, BUCKETS, { region: OWN, epoch: 1, nonce: 7 }, nonce);
  return { store, replication: store };
}

function openEmbedded(): Tested {
  const regional = { wallMs: () => START_MS, peers: SOURCES };
  const store = new EmbeddedStore({
    path,
    buckets: BUCKETS,
    actorKeys: 'hash',
    metrics: METRICS,
    region: OWN,
    nonce,
    replication: regional,
  });
  return { store, replication: store.replication! };
}

async function openRedis(): Promise<Tested> {
  const { url } = await startRedis();
  const store = await openRedisStore(url, { buckets: BUCKETS, metrics: METRICS, region: OWN, nonce });
  return { store, replication: store.replication! };
}

describe(`merging entries and registers (TEST_SEED=${SEED})`, () => {
  let stores: Record<string, Tested>;

  beforeAll(async () => {
    stores = { 'the reference': openReference(), 'the embedded store': openEmbedded(), Redis: await openRedis() };
  });

  afterAll(async () => {
    await Promise.all(Object.values(stores).map(({ store }) => store.close()));
    rmSync(path, { recursive: true });
    await stopRedis();
  });

  it.each(['the reference', 'the embedded store', 'Redis'])(
    `merging in %s is commutative, associative and idempotent, ${RUNS} times`,
    async (name) => {
      const used = new Set<number>();
      const property = fc.asyncProperty(deliveries, ({ fragments, order, again }) =>
        expectSameState(stores[name]!, used, fragments, [...order, ...again]),
      );
      await fc.assert(property, { numRuns: RUNS, seed: SEED, endOnFailure: true });
    },
    LIMIT_MS,
  );
});
